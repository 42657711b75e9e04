"""Verdicts that the official programs of GenEval and ImgEdit-Bench have written before, read as judges."""

import re
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from typing_extensions import override

from omnigen2.evaluation.judging.judge import BenchmarkItem, BenchmarkJudge, JudgeProtocol
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import Keys, read_json_lines, read_object
from omnigen2.rl import Failure, Judgement, Outcome
from omnigen2.rl.rewards import without_thoughts
from omnigen2.rl.rewards.remote import writable


class DetectorResults(BenchmarkJudge):
    """GenEval's verdicts, as its official program writes them: lines with `filename` and `correct`.

    Items are keyed `00000/samples/0000.png`.

    Args:
        model: The detector that was used, for the protocol: the file does not name it.

    Raises:
        EvaluationError: If a line has no file name or verdict, or a picture has two verdicts that differ.

    Source: evaluation/evaluate_images.py in djghosh13/geneval, which writes `filename` (as the folder was given to it),
        `tag`, `prompt`, `correct`, `reason`, `metadata` and `details`.
    """

    voice = "detector"

    def __init__(self, path: Path, model: str) -> None:
        self.model = model
        verdicts: Keys[bool] = Keys("verdict of", EvaluationError, "keep the right one of the two lines")
        self.reasons: dict[str, str] = {}
        for line in read_json_lines(path, EvaluationError):
            match line.value:
                case {"filename": str(name), "correct": bool(correct)}:
                    key, reason = "/".join(PureWindowsPath(name).parts[-3:]), line.value.get("reason")
                    verdicts.add(key, correct, line.where, repeats=True)
                    self.reasons[key] = writable(reason) if isinstance(reason, str) else ""
                case _:
                    message = f"{line.where} has no filename and correct"
                    raise EvaluationError(message, "expected GenEval's results.jsonl")
        self.verdicts = verdicts.values

    @property
    @override
    def protocol(self) -> JudgeProtocol:
        return JudgeProtocol("detector", self.model, "geneval")

    @override
    def judge(self, items: Sequence[BenchmarkItem]) -> list[Outcome]:
        return [self._judge(item.key) for item in items]

    def _judge(self, key: str) -> Outcome:
        if key not in self.verdicts:
            return Failure("no verdict in the results file")
        correct = float(self.verdicts[key])
        return Judgement(correct, {"correct": correct}, self.reasons[key])


class ImgEditAnswers(BenchmarkJudge):
    """The answers of ImgEdit-Bench's judge, as its official program writes them: one text by key.

    A picture's score is the mean of the three numbers that its text ends with. An answer without exactly three whole
    numbers from 1 to 5 is failed; the official program averages what numbers it finds and leaves out the rest.

    Args:
        model: The judge that was asked, for the protocol: the file does not name it.

    Raises:
        EvaluationError: If the file is no JSON object, or names a key twice.

    Source: Benchmark/Basic in PKU-YuanGroup/ImgEdit: basic_bench.py and step1_get_avgscore.py.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.model = model
        self.answers = read_object(path, EvaluationError, "expected the judge's answers by key").values

    @property
    @override
    def protocol(self) -> JudgeProtocol:
        return JudgeProtocol("answers", self.model, "imgedit")

    @override
    def judge(self, items: Sequence[BenchmarkItem]) -> list[Outcome]:
        return [self._judge(self.answers.get(item.key)) for item in items]

    def _judge(self, answer: object) -> Outcome:
        if not isinstance(answer, str):
            return Failure("no answer in the file", f"{answer!r:.80}")
        said = without_thoughts(answer) or ""
        grades = [int(grade) for grade in re.findall(r"^[^:\n]+: (\d{1,9})\s*$", said, re.MULTILINE)]
        if len(grades) != 3 or not all(1 <= grade <= 5 for grade in grades):
            return Failure("no three grades from 1 to 5", f"{answer!r:.120}")
        score = sum(grades) / 3
        return Judgement(score, {"score": score}, writable(answer))
