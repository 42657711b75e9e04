"""`omnigen2 evaluate`: judge a folder of pictures on a benchmark, or compare two results."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from omnigen2.commands.model import DTYPES, add_sampling_options, load_generator, progress_bar, sampling_options
from omnigen2.commands.parser import Parser, run_command

if TYPE_CHECKING:
    from omnigen2.evaluation.benchmarks import Benchmark
    from omnigen2.evaluation.judge import Item, Judge
    from omnigen2.evaluation.runner import Progress

EVALUATE = """\
Judge the pictures of a folder, and write a report and a gallery. The same command again goes on where it stopped:
pictures that were judged are not judged again.

  omnicontext  --data: the published data set; --images: results/METHOD with fullset/{task_type}/{key}.png
  gedit        --data: GEdit-Bench; --images: results/METHOD with fullset/{task_type}/{language}/{key}.png
  geneval      --images: 00000/metadata.jsonl, 00000/samples/0000.png, …; --judge: the detector's results.jsonl
  micro-omnicontext, micro-edit, micro-geneval
               --images: tasks.jsonl and {key}.png of the micro-world; --judge rules

--judge is the address of an OpenAI-compatible chat server with a vision-language model, several times for several
servers of one model; or `rules`; or a file of verdicts.

  omnigen2 evaluate omnicontext --data OmniContext --images results/mine --judge http://127.0.0.1:8000/v1 \\
      --judge-model Qwen/Qwen2.5-VL-72B-Instruct
  omnigen2 evaluate micro-edit --images samples --judge rules
  omnigen2 evaluate micro-edit --images drawn --data samples --model models/mine --judge rules
  omnigen2 evaluate compare runs/evaluate/gedit/mine runs/evaluate/gedit/theirs
"""
COMPARE = """\
Compare two results item by item. They must be of one benchmark, judged by one protocol; otherwise this refuses.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows the word `evaluate`.

    Returns:
        The exit status.
    """
    if arguments and arguments[0] == "compare":
        return _compare(arguments[1:])
    parser = Parser("evaluate", "BENCH --images DIR --judge JUDGE [options]", EVALUATE)
    parser.add_argument("benchmark", metavar="BENCH", help="one of those above, or `compare`")
    parser.option("--images", type=Path, required=True, metavar="DIR", help="the pictures")
    parser.option("--model", metavar="DIR", help="draw the pictures that --images lacks with this model folder")
    parser.option("--device", default=None, help="of --model (default: cuda if there is one)")
    parser.option("--dtype", choices=DTYPES, help="of --model (default: bfloat16, on the CPU float32)")
    add_sampling_options(parser)
    parser.option("--data", type=Path, metavar="DIR", help="the published data set")
    parser.option("--judge", action="append", required=True, help="an address, `rules`, or a file of verdicts")
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
    parser.option("--name", help="what the report calls the pictures (default: the folder's name)")
    parser.option("--out", type=Path, metavar="DIR", help="where to write (default: runs/evaluate/BENCH/NAME)")
    parser.option("--batch_size", type=int, default=8, help="pictures judged together (default 8)")
    words = shlex.join(["omnigen2", "evaluate", *arguments])
    return run_command(parser, arguments, lambda options: _run(options, words))


def _run(options: argparse.Namespace, command: str) -> None:
    from omnigen2.evaluation.benchmarks import find_benchmark
    from omnigen2.evaluation.errors import EvaluationError
    from omnigen2.evaluation.report import write_report
    from omnigen2.evaluation.runner import evaluate

    if options.batch_size < 1:
        raise EvaluationError(f"--batch_size must be at least 1, got {options.batch_size}", "8 is the default")
    benchmark = find_benchmark(options.benchmark)
    name = options.name or options.images.resolve().name
    out: Path = options.out or Path("runs") / "evaluate" / benchmark.name / name
    if options.model is not None and benchmark.name in ("omnicontext", "gedit"):
        (options.images / "fullset").mkdir(parents=True, exist_ok=True)
    items = benchmark.items(options.images, options.data)
    judge = _judge(options, benchmark)
    if options.model is not None:
        _draw_missing(options, items)
    if not any(item.output.is_file() for item in items):
        raise EvaluationError(
            f"none of the {len(items)} pictures is there, the first would be {items[0].output}", "check --images"
        )
    columns = (
        TextColumn("judging"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[reused]} judged before, {task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("judging", total=len(items), reused=0, failed=0)

        def show(now: "Progress") -> None:
            bar.update(task, completed=now.done, reused=now.reused, failed=now.failed)

        result = evaluate(benchmark, items, judge, out, name, options.batch_size, show)
    write_report(out, benchmark, result, items, command)
    for summary in benchmark.summaries(result.records):
        print(f"{summary.title}\n\n{summary.table()}\n")
    print(f"wrote {out / 'report.md'} and {out / 'gallery' / 'index.html'}")


def _draw_missing(options: argparse.Namespace, items: "Sequence[Item]") -> None:
    """Draw what is not there, one picture after another; each is kept as soon as it is whole."""
    from omnigen2.encoders.images import ImageReader
    from omnigen2.generate import Request, Sampling

    pending = [item for item in items if not item.output.is_file()]
    if not pending:
        return
    usual = {"lora": [], "offload": "none", "vae_memory": "one_by_one", "vlm_sees_images": False}
    generator = load_generator(argparse.Namespace(**usual, **vars(options)))
    sampling = Sampling(**sampling_options(options))
    size = {"height": options.height, "width": options.width}
    with progress_bar(len(pending) * sampling.steps, "drawing") as tell:
        for item in pending:
            given = tuple(ImageReader().read(one, "input") if isinstance(one, bytes) else one for one in item.inputs)
            request = Request(prompt=item.instruction, images=given, seed=options.seed or 0, **size)
            item.output.parent.mkdir(parents=True, exist_ok=True)
            generator.many([request], sampling, tell)[0].save(item.output)


def _judge(options: argparse.Namespace, benchmark: "Benchmark") -> "Judge":
    """The judge that the options describe.

    Raises:
        EvaluationError: If they do not go together.
    """
    from omnigen2.evaluation.chat_judge import DetectorResults
    from omnigen2.evaluation.errors import EvaluationError
    from omnigen2.evaluation.micro_folder import RulesJudge
    from omnigen2.microworld.fit import TOLERANCE

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
    if benchmark.name == "geneval" and not chat:
        if not Path(first).is_file():
            raise EvaluationError(f"there is no file {first}", "--judge names the detector's results.jsonl")
        return DetectorResults(Path(first), options.judge_model)
    if not chat:
        raise EvaluationError(f"--judge is {first!r}", "expected an address such as http://127.0.0.1:8000/v1, or rules")
    return _chat_judge(options, benchmark)


def _chat_judge(options: argparse.Namespace, benchmark: "Benchmark") -> "Judge":
    from omnigen2.evaluation.benchmarks import EditBenchmark, OmniContextBenchmark
    from omnigen2.evaluation.chat_judge import ChatJudge
    from omnigen2.evaluation.errors import EvaluationError
    from omnigen2.rl.rewards.chat import AnswerSettings, ChatClient
    from omnigen2.rl.rewards.edit_score import EditScoreReward
    from omnigen2.rl.rewards.in_context import InContextReward
    from omnigen2.rl.rewards.judge import Judge as ChatModel
    from omnigen2.rl.rewards.transport import Limits

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
            raise EvaluationError(f"no chat model judges {benchmark.name}", "GenEval's verdicts come from a detector")
    reward.probe()
    return ChatJudge(reward)


def _compare(arguments: Sequence[str]) -> int:
    parser = Parser("evaluate compare", "A B [options]", COMPARE)
    parser.add_argument("first", type=Path, metavar="A", help="a result.json, or the folder that it is in")
    parser.add_argument("second", type=Path, metavar="B", help="another")
    parser.option("--resamples", type=int, default=2000, help="of the bootstrap (default 2000)")
    parser.option("--level", type=float, default=0.95, help="of the intervals (default 0.95)")
    parser.option("--seed", type=int, default=0, help="of the resampling (default 0)")
    return run_command(parser, arguments, _run_compare)


def _run_compare(options: argparse.Namespace) -> None:
    from omnigen2.evaluation.benchmarks import find_benchmark
    from omnigen2.evaluation.compare import compare
    from omnigen2.evaluation.results import Result

    first, second = Result.load(options.first), Result.load(options.second)
    benchmark = find_benchmark(first.benchmark)
    print(compare(first, second, benchmark, options.resamples, options.level, options.seed).table())
