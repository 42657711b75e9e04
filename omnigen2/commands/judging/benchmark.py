"""Who judges in `omnigen2 evaluate`."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from omnigen2.commands.judging.settings import FeatureSettings, JudgeSettings, chat_judge, probe

if TYPE_CHECKING:
    import torch

    from omnigen2.evaluation import Benchmark
    from omnigen2.evaluation.judging import BenchmarkJudge

CHOICES = "expected a server's address such as http://127.0.0.1:8000/v1, `rules`, or a file of verdicts"


def judge_of(
    settings: JudgeSettings, features: FeatureSettings, benchmark: "Benchmark", device: "Callable[[], torch.device]"
) -> "BenchmarkJudge":
    """The judge that the settings describe; a chat server has graded a trial picture.

    Args:
        settings: Who.
        features: Who, where features are judged.
        benchmark: What it is to judge.
        device: Finds where models of features work, if there are any.

    Raises:
        EvaluationError: If they do not go together.
    """
    from omnigen2.evaluation import EmuEditBenchmark, EvaluationError, GenEvalBenchmark, ImgEditBenchmark
    from omnigen2.evaluation.judging import DetectorResults, FeatureJudge, ImgEditAnswers
    from omnigen2.microworld.runs import RulesJudge
    from omnigen2.microworld.world import TOLERANCE

    if isinstance(benchmark, EmuEditBenchmark):
        if features.clip is None or features.dino is None:
            raise EvaluationError("--clip or --dino is missing", "both name folders of models in transformers' layout")
        return FeatureJudge(features.clip, features.dino, device())
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
    from omnigen2.rl.rewards import EditScoreReward, InContextReward

    judge = chat_judge(settings, settings.judge, model)
    match benchmark:
        case OmniContextBenchmark():
            reward = InContextReward(judge, settings.judge_passes)
        case EditBenchmark():
            reward = EditScoreReward(judge, settings.judge_passes)
        case _:
            raise EvaluationError(
                f"no chat model judges {benchmark.name}", "its verdicts come in a file from the official program"
            )
    probe(reward)
    return ChatJudge(reward)
