"""Verdicts that the official programs of GenEval and ImgEdit-Bench have written before, read as judges."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from omnigen2.evaluation.judging.judge import Item, Judge, Judgement, JudgeProtocol
from omnigen2.evaluation.judging.results import read_json
from omnigen2.evaluation.judging.tables import json_object
from omnigen2.evaluation.metrics import EvaluationError


class DetectorResults(Judge):
    """GenEval's verdicts, as its official program writes them: lines with `filename` and `correct`.

    Args:
        path: The file, such as `results.jsonl`.
        model: The detector that was used, for the protocol: the file does not name it.

    Raises:
        EvaluationError: If a line has no file name or verdict.

    Source: evaluation/evaluate_images.py in djghosh13/geneval, which writes `filename` (as the folder was given to it),
        `tag`, `prompt`, `correct`, `reason`, `metadata` and `details`.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.model = model
        self.verdicts: dict[str, tuple[bool, str]] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            where = f"{path}, line {number}"
            row = read_json(line, where)
            match row:
                case {"filename": str(name), "correct": bool(correct)}:
                    reason = cast(Mapping[str, object], row).get("reason")
                    self.verdicts["/".join(Path(name).parts[-3:])] = (
                        correct,
                        reason if isinstance(reason, str) else "",
                    )
                case _:
                    raise EvaluationError(f"{where} has no filename and correct", "expected GenEval's results.jsonl")

    @property
    def protocol(self) -> JudgeProtocol:
        """The detector's name."""
        return JudgeProtocol("detector", self.model, "geneval")

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        """Look the verdicts up.

        Args:
            items: Of GenEval, keyed `00000/samples/0000.png`.

        Returns:
            `correct` as 0 or 1; a problem where the file has no verdict.
        """
        return [self._judge(item.key) for item in items]

    def _judge(self, key: str) -> Judgement:
        if key not in self.verdicts:
            return Judgement(problem="no verdict in the results file")
        correct, reason = self.verdicts[key]
        return Judgement({"correct": float(correct)}, {"detector": reason} if reason else {})


class ImgEditAnswers(Judge):
    """The answers of ImgEdit-Bench's judge, as its official program writes them: one text by key.

    A picture's score is the mean of the three numbers that its text ends with. An answer without exactly three whole
    numbers from 1 to 5 is failed; the official program averages what numbers it finds and leaves out the rest.

    Args:
        path: The file `result.json`.
        model: The judge that was asked, for the protocol: the file does not name it.

    Raises:
        EvaluationError: If the file is no JSON object.

    Source: Benchmark/Basic in PKU-YuanGroup/ImgEdit: basic_bench.py and step1_get_avgscore.py.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.model = model
        self.answers = json_object(path.read_text(encoding="utf-8"), str(path))

    @property
    def protocol(self) -> JudgeProtocol:
        """The judge's name."""
        return JudgeProtocol("answers", self.model, "imgedit")

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        """Look the answers up.

        Args:
            items: Of ImgEdit-Bench.

        Returns:
            `score` in [1, 5]; a problem where there is no answer, or no three grades in it.
        """
        return [self._judge(self.answers.get(item.key)) for item in items]

    def _judge(self, answer: object) -> Judgement:
        if not isinstance(answer, str):
            return Judgement(problem=f"no answer in the file: {answer!r:.80}")
        grades = [int(grade) for grade in re.findall(r"^[^:\n]+: (\d+)\s*$", answer, re.MULTILINE)]
        if len(grades) != 3 or not all(1 <= grade <= 5 for grade in grades):
            return Judgement(problem=f"no three grades from 1 to 5: {answer!r:.120}")
        return Judgement({"score": sum(grades) / 3}, {"judge": answer})
