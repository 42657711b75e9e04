"""A vision-language model as judge."""

from collections.abc import Sequence

from omnigen2.evaluation.judging.judge import Item, Judge, Judgement, JudgeProtocol, read_picture
from omnigen2.pictures import ImageFileError
from omnigen2.rl import RewardRequest
from omnigen2.rl.rewards import JudgeReward

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


def _request(item: Item) -> RewardRequest:
    references = tuple(read_picture(file, f"input {n}") for n, file in enumerate(item.inputs, start=1))
    return RewardRequest(item.instruction, read_picture(item.output, "output"), references, item.meta, item.key)
