"""Options of `omnigen2 evaluate` that say who judges."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from omnigen2.commands.model import device_of
from omnigen2.commands.parser import Parser

if TYPE_CHECKING:
    from omnigen2.evaluation import Benchmark
    from omnigen2.evaluation.judging import Judge


def add_judge_options(parser: Parser) -> None:
    """Add the options that `judge_of` reads, besides `--device`.

    Args:
        parser: The command's.
    """
    parser.option("--judge", action="append", default=[], help="an address, `rules`, or a file of verdicts")
    parser.option("--judge_model", metavar="NAME", help="the judge's name on its server, or the detector's")
    parser.option("--judge_key_variable", metavar="VARIABLE", help="environment variable with the server's key")
    parser.option("--judge_temperature", type=float, default=0.0, help="of its answers (default 0)")
    parser.option("--judge_passes", type=int, default=1, help="answers per picture that are averaged (default 1)")
    parser.option("--judge_image_side", type=int, metavar="PIXELS", help="scale pictures down for the judge")
    parser.option("--judge_seed", type=int, default=0, help="of its answers (default 0)")
    parser.option("--judge_format", choices=["json_schema", "json_object", "text"], default="json_schema")
    parser.option("--judge_max_tokens", type=int, default=1024, help="longest answer (default 1024)")
    parser.option("--judge_timeout", type=float, default=120.0, help="seconds for one answer (default 120)")
    parser.option("--judge_concurrency", type=int, default=8, help="questions at once (default 8)")
    parser.option("--tolerance", type=float, help="`rules`: largest error of an item that is recognised")
    parser.option("--clip", type=Path, metavar="DIR", help="`emu-edit`: folder of a CLIP model")
    parser.option("--dino", type=Path, metavar="DIR", help="`emu-edit`: folder of a DINO model")


def judge_of(options: argparse.Namespace, benchmark: "Benchmark") -> "Judge":
    """The judge that the options describe.

    Args:
        options: Parsed.
        benchmark: What it is to judge.

    Returns:
        It; a chat server has graded a trial picture.

    Raises:
        EvaluationError: If they do not go together.
    """
    from omnigen2.evaluation import EmuEditBenchmark, GenEvalBenchmark, ImgEditBenchmark
    from omnigen2.evaluation.judging import DetectorResults, ImgEditAnswers
    from omnigen2.evaluation.metrics import EvaluationError
    from omnigen2.microworld.runs import RulesJudge
    from omnigen2.microworld.world import TOLERANCE

    if isinstance(benchmark, EmuEditBenchmark):
        return _feature_judge(options)
    if not options.judge:
        raise EvaluationError("--judge is missing", "an address, `rules`, or a file of verdicts")
    first: str = options.judge[0]
    chat = first.startswith(("http://", "https://"))
    if len(options.judge) > 1 and not all(word.startswith(("http://", "https://")) for word in options.judge):
        raise EvaluationError(
            f"got the judges {', '.join(options.judge)}", "only several servers of one model go together"
        )
    if first == "rules":
        if not benchmark.name.startswith("micro-"):
            raise EvaluationError(
                f"the rules cannot judge {benchmark.name}", "they read pictures of the micro-world only"
            )
        return RulesJudge(TOLERANCE if options.tolerance is None else options.tolerance)
    if options.judge_model is None:
        raise EvaluationError("--judge_model is missing", "results must say who has judged")
    if not chat and isinstance(benchmark, GenEvalBenchmark | ImgEditBenchmark):
        if not Path(first).is_file():
            raise EvaluationError(f"there is no file {first}", "--judge names what the official program has written")
        reader = DetectorResults if isinstance(benchmark, GenEvalBenchmark) else ImgEditAnswers
        return reader(Path(first), options.judge_model)
    if not chat:
        raise EvaluationError(f"--judge is {first!r}", "expected an address such as http://127.0.0.1:8000/v1, or rules")
    return _chat_judge(options, benchmark)


def _chat_judge(options: argparse.Namespace, benchmark: "Benchmark") -> "Judge":
    from omnigen2.evaluation import EditBenchmark, OmniContextBenchmark
    from omnigen2.evaluation.judging import ChatJudge
    from omnigen2.evaluation.metrics import EvaluationError
    from omnigen2.rl.rewards import EditScoreReward, InContextReward
    from omnigen2.rl.rewards import Judge as ChatModel
    from omnigen2.rl.rewards.remote import AnswerSettings, ChatClient, Limits

    settings = AnswerSettings(
        options.judge_temperature, options.judge_max_tokens, options.judge_seed, options.judge_format
    )
    limits = Limits(concurrency=options.judge_concurrency, timeout_s=options.judge_timeout)
    client = ChatClient(
        options.judge, options.judge_model, options.judge_key_variable, options.judge_image_side, settings, limits
    )
    match benchmark:
        case OmniContextBenchmark():
            reward = InContextReward(ChatModel(client), options.judge_passes)
        case EditBenchmark():
            reward = EditScoreReward(ChatModel(client), options.judge_passes)
        case _:
            raise EvaluationError(
                f"no chat model judges {benchmark.name}", "its verdicts come in a file from the official program"
            )
    reward.probe()
    return ChatJudge(reward)


def _feature_judge(options: argparse.Namespace) -> "Judge":
    from omnigen2.evaluation.judging import FeatureJudge
    from omnigen2.evaluation.metrics import EvaluationError

    if options.clip is None or options.dino is None:
        raise EvaluationError("--clip or --dino is missing", "both name folders of models in the transformers layout")
    return FeatureJudge(options.clip, options.dino, device_of(options))
