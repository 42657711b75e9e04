"""`omnigen2 evaluate`: judge a folder of pictures on a benchmark, or compare two results."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from omnigen2.commands.judges import add_judge_options, judge_of
from omnigen2.commands.model import DTYPES, add_sampling_options, load_generator, progress_bar, sampling_options
from omnigen2.commands.parser import Parser, run_command
from omnigen2.commands.questions import add_question_options, evaluate_questions

if TYPE_CHECKING:
    from omnigen2.evaluation import Progress
    from omnigen2.evaluation.judging import Item

EVALUATE = """\
Judge the pictures of a folder, and write a report and a gallery. The same command again goes on where it stopped:
pictures that were judged are not judged again.

  omnicontext  --data: the published data set; --images: results/METHOD with fullset/{task_type}/{key}.png
  gedit        --data: GEdit-Bench; --images: results/METHOD with fullset/{task_type}/{language}/{key}.png
  imgedit      --data: with basic_edit.json; --images: {key}.png; --judge: the official program's result.json
  imgedit-sc-pq
               the same pictures, judged by a chat server as GEdit-Bench's are
  emu-edit     --data: emu_edit_test_set/SPLIT; --images: {idx}.png; --clip and --dino instead of a judge
  geneval      --images: 00000/metadata.jsonl, 00000/samples/0000.png, …; --judge: the detector's results.jsonl
  mmbench      --data: the published .tsv; --answers, or --model to have them made; no judge
  mmmu         --data: MMMU/SPLIT; --answers, or --model
  micro-omnicontext, micro-edit, micro-geneval
               --images: tasks.jsonl and {key}.png of the micro-world; --judge rules

--judge is the address of an OpenAI-compatible chat server with a vision-language model, several times for several
servers of one model; or `rules`; or a file of verdicts.

  omnigen2 evaluate omnicontext --data OmniContext --images results/mine --judge http://127.0.0.1:8000/v1 \\
      --judge-model Qwen/Qwen2.5-VL-72B-Instruct
  omnigen2 evaluate micro-edit --images samples --judge rules
  omnigen2 evaluate micro-edit --images drawn --data samples --model models/mine --judge rules
  omnigen2 evaluate emu-edit --data emu_edit_test_set/test --images drawn --clip clip --dino dino
  omnigen2 evaluate mmmu --data MMMU/validation --model models/mine
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
    parser = Parser("evaluate", "BENCH [--images DIR --judge JUDGE] [options]", EVALUATE)
    parser.add_argument("benchmark", metavar="BENCH", help="one of those above, or `compare`")
    parser.option("--images", type=Path, metavar="DIR", help="the pictures")
    parser.option("--model", metavar="DIR", help="draw the pictures that --images lacks with this model folder")
    parser.option("--device", default=None, help="of --model (default: cuda if there is one)")
    parser.option("--dtype", choices=DTYPES, help="of --model (default: bfloat16, on the CPU float32)")
    add_sampling_options(parser)
    parser.option("--data", type=Path, metavar="DIR", help="the published data set")
    add_judge_options(parser)
    add_question_options(parser)
    parser.option("--name", help="what the report calls the pictures (default: the folder's name)")
    parser.option("--out", type=Path, metavar="DIR", help="where to write (default: runs/evaluate/BENCH/NAME)")
    parser.option("--batch_size", type=int, default=8, help="pictures judged together (default 8)")
    words = shlex.join(["omnigen2", "evaluate", *arguments])
    return run_command(parser, arguments, lambda options: _run(options, words))


def _run(options: argparse.Namespace, command: str) -> None:
    from omnigen2.commands.benchmarks import find_benchmark
    from omnigen2.evaluation import ChoiceBenchmark, evaluate, write_report
    from omnigen2.evaluation.metrics import EvaluationError

    if options.batch_size < 1:
        raise EvaluationError(f"--batch_size must be at least 1, got {options.batch_size}", "8 is the default")
    benchmark = find_benchmark(options.benchmark)
    if isinstance(benchmark, ChoiceBenchmark):
        evaluate_questions(options, benchmark, command)
        return
    if options.images is None:
        raise EvaluationError("--images is missing", "name the folder of the pictures")
    name = options.name or options.images.resolve().name
    out: Path = options.out or Path("runs") / "evaluate" / benchmark.name / name
    if options.model is not None and benchmark.name in ("omnicontext", "gedit"):
        (options.images / "fullset").mkdir(parents=True, exist_ok=True)
    items = benchmark.items(options.images, options.data)
    judge = judge_of(options, benchmark)
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
    from omnigen2.generate import Request, Sampling
    from omnigen2.pictures import ImageReader

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


def _compare(arguments: Sequence[str]) -> int:
    parser = Parser("evaluate compare", "A B [options]", COMPARE)
    parser.add_argument("first", type=Path, metavar="A", help="a result.json, or the folder that it is in")
    parser.add_argument("second", type=Path, metavar="B", help="another")
    parser.option("--resamples", type=int, default=2000, help="of the bootstrap (default 2000)")
    parser.option("--level", type=float, default=0.95, help="of the intervals (default 0.95)")
    parser.option("--seed", type=int, default=0, help="of the resampling (default 0)")
    return run_command(parser, arguments, _run_compare)


def _run_compare(options: argparse.Namespace) -> None:
    from omnigen2.commands.benchmarks import find_benchmark
    from omnigen2.evaluation import compare
    from omnigen2.evaluation.judging import Result

    first, second = Result.load(options.first), Result.load(options.second)
    benchmark = find_benchmark(first.benchmark)
    print(compare(first, second, benchmark, options.resamples, options.level, options.seed).table())
