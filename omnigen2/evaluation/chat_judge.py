"""A vision-language model as judge, and verdicts that an object detector has written before."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch

from omnigen2.encoders.images import ImageFileError, ImageReader
from omnigen2.evaluation.errors import EvaluationError
from omnigen2.evaluation.judge import Item, Judge, Judgement, JudgeProtocol, PictureFile
from omnigen2.evaluation.results import read_json
from omnigen2.rl.reward import Picture, RewardRequest
from omnigen2.rl.rewards.judge_reward import JudgeReward

SCALE = 10.0
"""Rewards are in [0, 1], the scores of benchmarks in [0, 10]."""


class ChatJudge(Judge):
    """Judges by the same rubrics, prompts and parsing as the rewards of reinforcement learning.

    Args:
        reward: `InContextReward` for OmniContext, `EditScoreReward` for edits.
    """

    def __init__(self, reward: JudgeReward) -> None:
        self.reward = reward

    @property
    def protocol(self) -> JudgeProtocol:
        """Model, prompts and settings of the reward's judge."""
        who = self.reward.identity()
        return JudgeProtocol(
            judge="chat",
            model=who.model,
            prompt_version="+".join(who.prompts),
            temperature=who.temperature,
            passes=who.passes,
            image_size=who.image_side,
            seed=who.seed,
            settings={"max_tokens": who.max_tokens, "answer_format": who.answer_format, "needed": self.reward.needed},
        )

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        """Judge pictures side by side.

        Args:
            items: With their inputs.

        Returns:
            Scores in [0, 10], and the judge's words; a problem where a picture or an answer cannot be read.
        """
        found: dict[int, Judgement] = {}
        requests: dict[int, RewardRequest] = {}
        for index, item in enumerate(items):
            try:
                requests[index] = _request(item)
            except ImageFileError as error:
                found[index] = Judgement(problem=f"unreadable picture: {error}")
        if requests:
            scores = self.reward.score(list(requests.values()))
            for at, index in enumerate(requests):
                problem = scores.problem[at]
                if problem is not None:
                    found[index] = Judgement(problem=problem)
                    continue
                values = {"overall": scores.value[at], **{name: part[at] for name, part in scores.parts.items()}}
                reason = scores.reason[at]
                scaled = {name: round(SCALE * float(value), 5) for name, value in values.items()}
                found[index] = Judgement(scaled, {"judge": reason} if reason else {})
        return [found[index] for index in range(len(items))]


class DetectorResults(Judge):
    """GenEval's verdicts, as its official program writes them: lines with `filename` and `correct`.

    Args:
        path: The file, such as `results.jsonl`.
        model: The detector that was used, for the protocol: the file does not name it.

    Raises:
        EvaluationError: If a line has no file name or verdict.
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


def _request(item: Item) -> RewardRequest:
    references = tuple(_read(file, f"input {n}") for n, file in enumerate(item.inputs, start=1))
    return RewardRequest(item.instruction, _read(item.output, "output"), references, item.meta, item.key)


def _read(file: PictureFile, name: str) -> Picture:
    image = ImageReader().read(file, name if isinstance(file, bytes) else None)
    return torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1
