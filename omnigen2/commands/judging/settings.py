"""Who judges: the options, and the chat server that they describe."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from omnigen2.commands.options import at_most
from omnigen2.errors import UserError
from omnigen2.rl.rewards.remote import AnswerFormat, TokenField

if TYPE_CHECKING:
    from omnigen2.rl import Reward
    from omnigen2.rl.rewards import Judge

REMEDIES = {
    "temperature": "try --judge_temperature none",
    "seed": "try --judge_seed none",
    "token_field": "try --judge_token_field max_completion_tokens, or max_tokens",
    "max_tokens": "try a higher --judge_max_tokens",
    "answer_format": "try --judge_format json_object or text",
}
"""What to do, by the setting that a server does not take."""


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """Who judges.

    Attributes:
        judge: An address, `rules`, or a file; several addresses if it is repeated.
        judge_model: The judge's name on its server, or the detector's.
        judge_key_variable: Environment variable with the server's key.
        judge_temperature: Of its answers; none for servers that take no temperature.
        judge_passes: Answers per picture that are averaged.
        judge_image_side: Scale pictures down for the judge to so many pixels.
        judge_seed: Of its answers; none for servers that take no seed.
        judge_format: How its answers are asked for.
        judge_max_tokens: Longest answer.
        judge_token_field: What the server calls the longest answer.
        judge_timeout: Seconds for one answer.
        judge_concurrency: Questions at once.
        tolerance: Of `rules`, the largest error of an item that is recognised.
    """

    judge: tuple[str, ...] = ()
    judge_model: str | None = None
    judge_key_variable: str | None = None
    judge_temperature: float | Literal["none"] = 0.0
    judge_passes: int = field(default=1, metadata=at_most(1000))
    judge_image_side: int | None = field(default=None, metadata=at_most(2**15))
    judge_seed: int | Literal["none"] = 0
    judge_format: AnswerFormat = "json_schema"
    judge_max_tokens: int = field(default=1024, metadata=at_most(2**20))
    judge_token_field: TokenField = "max_tokens"  # noqa: S105  (words, not a secret)
    judge_timeout: float = field(default=120.0, metadata=at_most(86_400))
    judge_concurrency: int = field(default=8, metadata=at_most(1024))
    tolerance: float | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range, and a key that is not there.

        Raises:
            UserError: If there is one.
        """
        for name in ("passes", "image_side", "max_tokens", "concurrency"):
            if (value := getattr(self, f"judge_{name}")) is not None and value < 1:
                raise UserError(f"--judge_{name} must be at least 1, got {value}")
        if self.judge_temperature != "none" and not 0 <= self.judge_temperature <= 2:
            raise UserError(f"--judge_temperature must be none or from 0 to 2, got {self.judge_temperature}")
        if self.judge_timeout <= 0:
            raise UserError(f"--judge_timeout must be above 0, got {self.judge_timeout}")
        if self.tolerance is not None and self.tolerance < 0:
            raise UserError(f"--tolerance must be at least 0, got {self.tolerance}")
        if self.judge_key_variable is not None and not os.environ.get(self.judge_key_variable):
            raise UserError(
                f"there is no key in the environment variable {self.judge_key_variable}",
                "set it, or leave --judge_key_variable out if the server wants none",
            )


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """Models of features that judge.

    Attributes:
        clip: With `emu-edit`, folder of a CLIP model.
        dino: With `emu-edit`, folder of a DINO model.
    """

    clip: Path | None = None
    dino: Path | None = None


def chat_judge(settings: JudgeSettings, addresses: Sequence[str], model: str) -> "Judge":
    """A model behind chat servers, asked as the settings say."""
    from omnigen2.rl.rewards import Judge
    from omnigen2.rl.rewards.remote import AnswerSettings, ChatClient, Limits

    answers = AnswerSettings(
        None if settings.judge_temperature == "none" else settings.judge_temperature,
        settings.judge_max_tokens,
        None if settings.judge_seed == "none" else settings.judge_seed,
        settings.judge_format,
        settings.judge_token_field,
    )
    limits = Limits(concurrency=settings.judge_concurrency, timeout_s=settings.judge_timeout)
    key, side = settings.judge_key_variable, settings.judge_image_side
    return Judge(ChatClient(addresses, model, key, side, answers, limits))


def probe(reward: "Reward") -> None:
    """Have a trial picture graded.

    Raises:
        UserError: If that fails, with the option that may be at fault.
    """
    from omnigen2.rl.rewards import TrialError

    try:
        reward.probe()
    except TrialError as error:
        usual = "check that it runs, knows --judge_model and its key, and answers in --judge_format"
        raise UserError(error.message, REMEDIES.get(error.setting or "", usual)) from error
