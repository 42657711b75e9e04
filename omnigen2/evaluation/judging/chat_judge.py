"""A vision-language model as judge."""

from collections.abc import Sequence

from typing_extensions import override

from omnigen2.evaluation.judging.judge import BenchmarkItem, BenchmarkJudge, JudgeProtocol, read_picture
from omnigen2.pictures import ImageFileError
from omnigen2.rl import Failure, Judgement, Outcome, RewardRequest
from omnigen2.rl.rewards import JudgeReward

SCALE = 10.0
"""Rewards are in [0, 1], the scores of benchmarks in [0, 10]."""


class ChatJudge(BenchmarkJudge):
    """Judges by the rubrics, prompts and parsing of a reward (`InContextReward`, `EditScoreReward`); in [0, 10]."""

    def __init__(self, reward: JudgeReward) -> None:
        self.reward = reward

    @property
    @override
    def protocol(self) -> JudgeProtocol:
        reward, client, settings = self.reward, self.reward.judge.client, self.reward.judge.client.settings
        return JudgeProtocol(
            judge="chat",
            model=client.model,
            prompt_version="+".join(rubric.version for rubric in reward.rubrics),
            temperature=settings.temperature,
            passes=reward.passes,
            image_size=client.image_side,
            seed=settings.seed,
            settings={
                "max_tokens": settings.max_tokens,
                "answer_format": settings.answer_format,
                "needed": reward.needed,
                **({} if settings.token_field == "max_tokens" else {"token_field": settings.token_field}),  # noqa: S105
            },
        )

    @override
    def judge(self, items: Sequence[BenchmarkItem]) -> list[Outcome]:
        requests = [_request(item) for item in items]
        readable = [request for request in requests if isinstance(request, RewardRequest)]
        outcomes = iter(self.reward.score(readable).outcomes() if readable else ())
        return [request if isinstance(request, Failure) else _scaled(next(outcomes)) for request in requests]


def _request(item: BenchmarkItem) -> RewardRequest | Failure:
    try:
        references = tuple(read_picture(file, f"input {n}") for n, file in enumerate(item.inputs, start=1))
        return RewardRequest(item.instruction, read_picture(item.output, "output"), references, item.meta, item.key)
    except ImageFileError as error:
        return Failure("unreadable picture", str(error))


def _scaled(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Failure):
        return outcome
    parts = {"overall": outcome.value, **outcome.parts}
    scaled = {name: round(SCALE * value, 5) for name, value in parts.items()}
    return Judgement(scaled["overall"], scaled, outcome.reason)
