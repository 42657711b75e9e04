"""What `omnigen2 evaluate --model` draws: the pictures that are not there, each checked before the first is drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from omnigen2.commands.drawing import Work, polynomial_of, saved
from omnigen2.commands.judging import chooser_of
from omnigen2.commands.settings import ModelSettings, settled
from omnigen2.encoders import load_tokenizer
from omnigen2.errors import UserError, user_errors
from omnigen2.generate import BestOf, Job, ModelFolder, Request, check_jobs, planner_of, read_parameters

if TYPE_CHECKING:
    from omnigen2.commands.evaluate import EvaluateSettings
    from omnigen2.evaluation import Benchmark
    from omnigen2.evaluation.judging import BenchmarkItem


def parameters_of(picture: Path) -> Mapping[str, Any] | None:
    """How a picture was drawn, if its file says so."""
    try:
        return read_parameters(picture)
    except (UserError, Image.DecompressionBombError):
        return None  # a file of another program, or no picture


def to_draw(settings: "EvaluateSettings", model: Path, items: "Sequence[BenchmarkItem]") -> list[Job]:
    """The pictures that are not there; what the model cannot draw is told before anything is loaded.

    Raises:
        UserError: If there is such an item; it is named with its file and row.
    """
    size, seed = settings.picture, settings.picture.seed or 0
    jobs: list[Job] = []
    for item in items:
        if item.output.is_file():
            continue
        meta = item.meta if settings.best_of > 1 else ""
        request = Request(
            prompt=item.instruction, images=item.inputs, height=size.height, width=size.width, seed=seed, meta=meta
        )
        jobs.append(Job(item.output, request, settings.sampling, item.where or item.key))
    if jobs:
        folder = ModelFolder(model)
        planner = planner_of(folder)
        planner.check(Request(prompt="", height=size.height, width=size.width))
        with user_errors():
            tokenizer = load_tokenizer(folder.part("processor"))
        check_jobs(jobs, planner, tokenizer)
        polynomial_of(model, jobs)
    return jobs


def best_of(settings: "EvaluateSettings", benchmark: "Benchmark", jobs: Sequence[Job]) -> BestOf | None:
    """Who chooses among how many pictures of each job, tried out; None if one is drawn of each."""
    from omnigen2.evaluation import OmniContextBenchmark

    if settings.best_of == 1:
        return None
    context = isinstance(benchmark, OmniContextBenchmark)
    model = settings.choose_model or settings.judging.judge_model
    chooser = chooser_of(settings.judging, settings.choose_by, model, context)
    chooser.check(jobs)
    return BestOf(settings.best_of, chooser.choose, chooser.by)


def draw(model: ModelSettings, jobs: Sequence[Job], best: BestOf | None = None) -> None:
    """Draw one picture after another; each is kept as soon as it is whole."""
    work = Work(model, jobs, 1, best)
    for _ in work.draw():
        pass
    print(saved(work.count), end="")


def drawing_model(settings: "EvaluateSettings", model: Path) -> ModelSettings:
    """The model that draws, with a number format; what it cannot be loaded with is told before it is."""
    return settled(
        ModelSettings(
            model=model,
            lora=settings.lora,
            device=settings.device,
            dtype=settings.dtype,
            offload=settings.offload,
            vae_memory=settings.vae_memory,
            quantize=settings.quantize,
        )
    )
