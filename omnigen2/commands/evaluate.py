"""`omnigen2 evaluate`: judge a folder of pictures or answers on a benchmark, or compare two results."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from omnigen2.commands.evaluate_drawing import best_of, draw, drawing_model, parameters_of, to_draw
from omnigen2.commands.judging import FeatureSettings, JudgeSettings, judge_of
from omnigen2.commands.options import POSITIONAL, Parser, at_most, note, run_command
from omnigen2.commands.settings import (
    DrawingParser,
    DType,
    PictureSettings,
    device_of,
    dtype_of,
    progress_bar,
)
from omnigen2.encoders import MOST_NEW_TOKENS, VAEMemory
from omnigen2.errors import UserError, user_errors
from omnigen2.files import plain_name
from omnigen2.generate import MOST_IMAGES, ModelFolder, Offload, Sampling
from omnigen2.quantize import Quantization, quantize

if TYPE_CHECKING:
    from omnigen2.evaluation import Answerer, Benchmark, ChoiceBenchmark, EvaluationProgress
    from omnigen2.evaluation.judging import BenchmarkItem, BenchmarkResult

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
  omnigen2 evaluate micro-edit --images best --data samples --model models/mine --judge rules \\
      --best_of 4 --choose_by rules
  omnigen2 evaluate emu-edit --data emu_edit_test_set/test --images drawn --clip clip --dino dino
  omnigen2 evaluate mmmu --data MMMU/validation --model models/mine
  omnigen2 evaluate compare runs/evaluate/gedit/mine runs/evaluate/gedit/theirs
"""
COMPARE = """\
Compare two results item by item. They must be of one benchmark, judged by one protocol, and their pictures chosen in
one way, if at all; otherwise this refuses.
"""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """What is judged.

    Attributes:
        benchmark: One of those above, or `compare`.
        images: The folder of the pictures.
        model: Draw the pictures that --images lacks, or make the answers, with this model folder.
        lora: LoRA adapter of --model, DIR or DIR:0.7; may be repeated.
        device: Of --model, or of --clip and --dino (default: cuda if there is one).
        dtype: Of --model (default: bfloat16, on the CPU float32).
        offload: Of --model, what waits in the host's memory while others work: idle, stages or blocks.
        vae_memory: Of --model, with tiled, large pictures are encoded and decoded in overlapping tiles.
        quantize: Of --model, the weights of the blocks in 8 or 4 bits: less memory, other pictures and answers.
        data: The published data set.
        answers: For `mmbench` and `mmmu`, lines with key and answer.
        max_new_tokens: Longest answer that --model makes.
        name: What the report calls the pictures (default: the folder's name).
        out: Where to write (default: runs/evaluate/BENCH/NAME).
        batch_size: Pictures judged together.
        best_of: Of each picture that --model draws, draw so many and keep the one that --choose_by likes best.
        choose_by: An address, `rules`, or the recipe of a reward; several addresses if it is repeated.
        choose_model: The chooser's name on its server (default: --judge_model).
    """

    benchmark: str = field(metadata=POSITIONAL)
    images: Path | None = None
    model: Path | None = None
    lora: tuple[str, ...] = ()
    device: str | None = None
    dtype: DType | None = None
    offload: Offload = "none"
    vae_memory: VAEMemory = "one_by_one"
    quantize: Quantization = "none"
    picture: PictureSettings = field(default_factory=PictureSettings)
    sampling: Sampling = field(default_factory=Sampling)
    data: Path | None = None
    judging: JudgeSettings = field(default_factory=JudgeSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    answers: Path | None = None
    max_new_tokens: int = field(default=16, metadata=at_most(MOST_NEW_TOKENS))
    name: str | None = None
    out: Path | None = None
    batch_size: int = field(default=8, metadata=at_most(100_000))
    best_of: int = field(default=1, metadata=at_most(MOST_IMAGES))
    choose_by: tuple[str, ...] = ()
    choose_model: str | None = None

    def folder(self, benchmark: "Benchmark", name: str) -> Path:
        """Where to write.

        Raises:
            UserError: If it is a file, or the name cannot be that of a folder.
        """
        folder = self.out or Path("runs") / "evaluate" / benchmark.name / plain_name(name, "--name")
        if folder.is_file():
            raise UserError(f"{folder} is a file", "--out names the folder of the report")
        return folder


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """What is compared.

    Attributes:
        first: A result.json, or the folder that it is in.
        second: Another.
        resamples: Of the bootstrap.
        level: Of the intervals.
        seed: Of the resampling.
        any_choice: Compare also pictures of which a judge chose the best with others.
    """

    first: Path = field(metadata=POSITIONAL)
    second: Path = field(metadata=POSITIONAL)
    resamples: int = field(default=2000, metadata=at_most(1_000_000))
    level: float = 0.95
    seed: int = 0
    any_choice: bool = False


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    if arguments and arguments[0] == "compare":
        parser = Parser(CompareSettings, "evaluate compare", "FIRST SECOND [options]", COMPARE)
        return run_command(parser, arguments[1:], _run_compare)
    parser = DrawingParser(EvaluateSettings, "evaluate", "BENCHMARK [--images DIR --judge JUDGE] [options]", EVALUATE)
    words = shlex.join(["omnigen2", "evaluate", *arguments])
    return run_command(parser, arguments, lambda settings: _run(settings, words))


def _run(settings: EvaluateSettings, command: str) -> None:
    from omnigen2.commands.benchmarks import find_benchmark
    from omnigen2.evaluation import ChoiceBenchmark, EvaluationError

    for name in ("batch_size", "max_new_tokens", "best_of"):
        if (value := getattr(settings, name)) < 1:
            raise EvaluationError(f"--{name} must be at least 1, got {value}")
    benchmark = find_benchmark(settings.benchmark)
    draws = settings.model is not None and not isinstance(benchmark, ChoiceBenchmark)
    given = {"lora": settings.lora, "best_of": settings.best_of > 1, "offload": settings.offload != "none"}
    if unused := next((name for name, is_given in given.items() if is_given and not draws), None):
        raise EvaluationError(f"--{unused} goes with a --model that draws", "leave it out, or name the model")
    if settings.quantize != "none" and settings.model is None:
        raise EvaluationError("--quantize goes with a --model", "leave it out, or name the model")
    if (settings.best_of > 1) != bool(settings.choose_by):
        raise EvaluationError("--best_of and --choose_by go together", "such as --best_of 4 --choose_by rules")
    if isinstance(benchmark, ChoiceBenchmark):
        _judge_answers(settings, benchmark, command)
    else:
        if settings.model is None and (settings.picture, settings.sampling) != (PictureSettings(), Sampling()):
            note("nothing is drawn without --model: --steps, --height and other options of drawing have no effect")
        _judge_pictures(settings, benchmark, command)


def _judge_pictures(settings: EvaluateSettings, benchmark: "Benchmark", command: str) -> None:
    from omnigen2.evaluation import EvaluationError, drawn, evaluate

    if settings.images is None:
        raise EvaluationError("--images is missing", "name the folder of the pictures")
    name = settings.name or settings.images.resolve().name
    out = settings.folder(benchmark, name)
    if settings.model is not None and benchmark.folder:
        (settings.images / benchmark.folder).mkdir(parents=True, exist_ok=True)
    items = benchmark.items(settings.images, settings.data)
    benchmark.check(items)
    pending = to_draw(settings, settings.model, items) if settings.model is not None else []
    model = drawing_model(settings, settings.model) if settings.model is not None and pending else None
    judge = judge_of(settings.judging, settings.features, benchmark, lambda: device_of(settings.device))
    if model is not None:
        draw(model, pending, best_of(settings, benchmark, pending))
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

        def show(now: "EvaluationProgress") -> None:
            bar.update(task, completed=now.done, reused=now.reused, failed=now.failed)

        result = evaluate(benchmark, items, judge, out, name, settings.batch_size, show)
    result = replace(result, drawn=drawn(items, parameters_of))
    if len(result.drawn) > 1:
        note(f"the pictures were drawn in {len(result.drawn)} ways, see {out / 'report.md'}")
    _report(out, benchmark, result, items, command)
    print(f"wrote {out / 'report.md'} and {out / 'gallery' / 'index.html'}")


def _judge_answers(settings: EvaluateSettings, benchmark: "ChoiceBenchmark", command: str) -> None:
    from omnigen2.evaluation import EvaluationError, ask, letter_protocol, marked
    from omnigen2.evaluation.judging import BenchmarkResult, read_answers

    source = settings.answers or settings.model
    if settings.data is None or source is None or None not in (settings.answers, settings.model):
        raise EvaluationError(
            f"{benchmark.name} needs --data, and either --answers or --model", "a file of answers, or a model folder"
        )
    choices = benchmark.questions(settings.data)
    name = settings.name or source.resolve().stem
    out = settings.folder(benchmark, name)
    out.mkdir(parents=True, exist_ok=True)
    if settings.answers is not None:
        answers, tokens = read_answers(settings.answers, [choice.key for choice in choices]), None
    else:
        tokens = settings.max_new_tokens
        kind = () if settings.quantize == "none" else (settings.quantize,)
        facts = (str(source.resolve()), tokens, *kind)  # not the model's weights: another model is another --out
        with progress_bar(len(choices), "asking") as tell:
            answers = ask(choices, lambda: _answerer(settings, source), facts, out / "answers.jsonl", tell)
    result = BenchmarkResult(benchmark.name, name, letter_protocol(tokens), tuple(marked(choices, answers)))
    _report(out, benchmark, result, [], command)
    print(f"wrote {out / 'report.md'}")


def _report(
    out: Path, benchmark: "Benchmark", result: "BenchmarkResult", items: "Sequence[BenchmarkItem]", command: str
) -> None:
    from omnigen2.evaluation import summaries, write_report

    write_report(out, benchmark, result, items, command)
    for summary in summaries(benchmark, result):
        print(f"{summary.title}\n\n{summary.table()}\n")


def _answerer(settings: EvaluateSettings, model: Path) -> "Answerer":
    from omnigen2.encoders import Message, PromptRules, QwenEncoder

    folder, device = ModelFolder(model), device_of(settings.device)
    with user_errors():
        encoder = QwenEncoder.from_folder(
            folder.part("mllm"),
            folder.part("processor"),
            dtype=dtype_of(settings.dtype, device),
            device=device,
            rules=PromptRules(sees="text_and_images"),
        )
        quantize(encoder.model, settings.quantize)

    def answer(system: str, question: str, images: tuple[Image.Image, ...]) -> str:
        talk = (Message("system", system), Message("user", question, images))
        return encoder.answer([talk], max_new_tokens=settings.max_new_tokens)[0].text

    return answer


def _run_compare(settings: CompareSettings) -> None:
    from omnigen2.commands.benchmarks import find_benchmark
    from omnigen2.evaluation import compare
    from omnigen2.evaluation.judging import BenchmarkResult

    first, second = BenchmarkResult.load(settings.first), BenchmarkResult.load(settings.second)
    benchmark = find_benchmark(first.benchmark)
    print(
        compare(
            first, second, benchmark, settings.resamples, settings.level, settings.seed, settings.any_choice
        ).table()
    )
