"""Who judges in `omnigen2 evaluate`: its options, and the judges that they describe."""

import os
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from omnigen2.commands.parser import at_most
from omnigen2.commands.settings import device_of
from omnigen2.errors import UserError
from omnigen2.rl.rewards.remote import AnswerFormat, TokenField

if TYPE_CHECKING:
    from omnigen2.evaluation import Benchmark
    from omnigen2.evaluation.judging import BenchmarkJudge

CHOICES = "expected a server's address such as http://127.0.0.1:8000/v1, `rules`, or a file of verdicts"
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
        judge: An address, `rules`, or a file of verdicts; several addresses if it is repeated.
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
        clip: With `emu-edit`, folder of a CLIP model.
        dino: With `emu-edit`, folder of a DINO model.
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
    clip: Path | None = None
    dino: Path | None = None

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


def judge_of(settings: JudgeSettings, benchmark: "Benchmark", device: str | None) -> "BenchmarkJudge":
    """The judge that the settings describe; a chat server has graded a trial picture.

    Args:
        settings: Who.
        benchmark: What it is to judge.
        device: Where models of features work.

    Raises:
        EvaluationError: If they do not go together.
    """
    from omnigen2.evaluation import EmuEditBenchmark, EvaluationError, GenEvalBenchmark, ImgEditBenchmark
    from omnigen2.evaluation.judging import DetectorResults, FeatureJudge, ImgEditAnswers
    from omnigen2.microworld.runs import RulesJudge
    from omnigen2.microworld.world import TOLERANCE

    if isinstance(benchmark, EmuEditBenchmark):
        if settings.clip is None or settings.dino is None:
            raise EvaluationError("--clip or --dino is missing", "both name folders of models in transformers' layout")
        return FeatureJudge(settings.clip, settings.dino, device_of(device))
    if not settings.judge:
        raise EvaluationError("--judge is missing", CHOICES)
    first = settings.judge[0]
    servers = [word.startswith(("http://", "https://")) for word in settings.judge]
    if len(servers) > 1 and not all(servers):
        raise EvaluationError(
            f"got the judges {', '.join(settings.judge)}", "only several servers of one model go together"
        )
    if first == "rules":
        if not benchmark.rules:
            raise EvaluationError(
                f"the rules cannot judge {benchmark.name}", "they read pictures of the micro-world only"
            )
        return RulesJudge(TOLERANCE if settings.tolerance is None else settings.tolerance)
    if not servers[0]:
        _check_file(first)
        if not isinstance(benchmark, GenEvalBenchmark | ImgEditBenchmark):
            raise EvaluationError(
                f"--judge is the file {first}, but {benchmark.name} has no files of verdicts", CHOICES
            )
    if settings.judge_model is None:
        raise EvaluationError("--judge_model is missing", "results must say who has judged")
    if servers[0]:
        return _chat_judge(settings, settings.judge_model, benchmark)
    reader = DetectorResults if isinstance(benchmark, GenEvalBenchmark) else ImgEditAnswers
    return reader(Path(first), settings.judge_model)


def _check_file(word: str) -> None:
    """Say what a word may have been meant for that is neither an address, nor `rules`, nor a file.

    Raises:
        EvaluationError: If there is no such file.
    """
    from omnigen2.evaluation import EvaluationError

    if Path(word).is_file():
        return
    if get_close_matches(word.lower(), ["rules"]):
        raise EvaluationError(f"--judge is {word!r}: did you mean rules?", CHOICES)
    host = re.fullmatch(r"(?:\w+://)?([\w.-]+\.[a-z]{2,}|localhost|[\d.]+|\[[\da-f:]+\]|[\w-]+)(:\d+)(/.*)?", word)
    if host or "://" in word:
        plain = word.partition("://")[2] or word
        raise EvaluationError(f"--judge is {word!r}, no address of a server", f"did you mean http://{plain}?")
    raise EvaluationError(f"--judge is {word!r}, and there is no such file", CHOICES)


def _chat_judge(settings: JudgeSettings, model: str, benchmark: "Benchmark") -> "BenchmarkJudge":
    from omnigen2.evaluation import EditBenchmark, EvaluationError, OmniContextBenchmark
    from omnigen2.evaluation.judging import ChatJudge
    from omnigen2.rl.rewards import EditScoreReward, InContextReward, Judge, TrialError
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
    judge = Judge(ChatClient(settings.judge, model, key, side, answers, limits))
    match benchmark:
        case OmniContextBenchmark():
            reward = InContextReward(judge, settings.judge_passes)
        case EditBenchmark():
            reward = EditScoreReward(judge, settings.judge_passes)
        case _:
            raise EvaluationError(
                f"no chat model judges {benchmark.name}", "its verdicts come in a file from the official program"
            )
    try:
        reward.probe()
    except TrialError as error:
        usual = "check that it runs, knows --judge_model and its key, and answers in --judge_format"
        raise EvaluationError(error.message, REMEDIES.get(error.setting or "", usual)) from error
    return ChatJudge(reward)
