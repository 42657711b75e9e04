"""`omnigen2 calibrate`: TeaCache's polynomial of a model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from omnigen2.commands.drawing import largest
from omnigen2.commands.options import note, run_command
from omnigen2.commands.settings import (
    DrawingParser,
    ModelSettings,
    PictureSettings,
    load_generator,
    progress_bar,
    settled,
)
from omnigen2.encoders import load_tokenizer
from omnigen2.errors import user_errors
from omnigen2.generate import (
    CALIBRATION_FILE,
    CALIBRATION_PROMPTS,
    GenerateError,
    Job,
    ModelFolder,
    Request,
    Sampling,
    batches,
    calibrate,
    check_enough,
    check_jobs,
    jobs_of_file,
    planner_of,
    write_calibration,
)

DESCRIPTION = """\
Fit TeaCache to a model: draw some prompts without reuse, watch how much of a change of the transformer's input becomes
a change of what its blocks add, and write the polynomial into the model folder, as teacache.json. From then on
`--cache teacache` goes by it, and its threshold is a change of what the blocks add.

  omnigen2 calibrate --model DIR --height 1024 --width 1024
  omnigen2 calibrate --model DIR --from_file prompts.jsonl --batch_size 4
  omnigen2 generate --model DIR --prompt "a red cube" --out cube.png --cache teacache --cache_threshold 0.2

A file of prompts is one of `omnigen2 generate --from_file`: some twenty, as unlike each other as what will be drawn.
Without one, 16 prompts of all kinds are drawn. Take as many steps as will be drawn with, or nearly so.
"""


@dataclass(frozen=True, kw_only=True)
class CalibrateSettings:
    """What is drawn.

    Attributes:
        from_file: JSON lines with prompts, one object per line.
        batch_size: Pictures drawn together.
        overwrite: Replace a teacache.json that is there already.
    """

    from_file: Path | None = None
    batch_size: int = 1
    overwrite: bool = False
    model: ModelSettings
    picture: PictureSettings = field(default_factory=PictureSettings)
    sampling: Sampling = field(default_factory=Sampling)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    usage = "--model DIR [--from_file FILE.jsonl] [options]"
    return run_command(DrawingParser(CalibrateSettings, "calibrate", usage, DESCRIPTION), arguments, _run)


def _run(settings: CalibrateSettings) -> None:
    folder = ModelFolder(settings.model.model)
    path = folder.path / CALIBRATION_FILE
    if settings.model.lora:
        raise GenerateError("the polynomial is one of the model without --lora", "merge it by `omnigen2 export` first")
    if path.exists() and not settings.overwrite:
        raise GenerateError(f"{path} is there already", "", {"overwrite": "replace it with {}"})
    settings = replace(settings, model=settled(settings.model))
    jobs = _jobs(settings)
    packs = list(batches(jobs, settings.batch_size))
    check_enough(len(jobs), settings.sampling)
    with user_errors():
        tokenizer = load_tokenizer(folder.part("processor"), settings.model.rules)
    check_jobs(jobs, planner_of(folder), tokenizer)
    if words := sorted({word for job in jobs for word in tokenizer.unknown(job.request.prompt)}):
        note(f"the model does not know {', '.join(map(repr, words[:5]))}: give it prompts of its own by --from_file")
    generator = load_generator(settings.model, largest(packs))
    with progress_bar(settings.sampling.steps * len(packs), "watching") as tell:
        found = calibrate(
            generator,
            [job.request for job in jobs],
            settings.sampling,
            batch_size=settings.batch_size,
            progress=tell,
        )
    write_calibration(folder.path, found)
    fit, (least, most) = found.fit, found.fit.span
    print(
        f"wrote {path}: {fit.pairs:,} changes of {found.prompts} prompts in {found.steps} steps, from {least:.3g} to "
        f"{most:.3g}; it explains {fit.explained:.0%} of their variance, and errs by {fit.error:.3g}"
    )


def _jobs(settings: CalibrateSettings) -> list[Job]:
    """What is drawn; nothing is written.

    Raises:
        GenerateError: If reuse is asked for, or lines are to be drawn in different ways.
    """
    reuse = {"cache": "none", "cache_threshold": None, "cache_interval": None, "guidance_every": 1}
    if asked := [name for name, usual in reuse.items() if getattr(settings.sampling, name) != usual]:
        raise GenerateError(f"--{asked[0]} has no place in a calibration, which computes every step", "leave it out")
    shared = {name: value for name, value in asdict(settings.picture).items() if value is not None}
    first = shared.pop("seed", 0)
    if settings.from_file is None:
        requests = [
            Request(prompt=one, seed=first + number, **shared) for number, one in enumerate(CALIBRATION_PROMPTS)
        ]
        return [Job(Path(f"{number}.png"), one, settings.sampling) for number, one in enumerate(requests)]
    jobs = jobs_of_file(settings.from_file, Path(), {**asdict(settings.sampling), **shared, "seed": first})
    if other := next((job for job in jobs if job.sampling != settings.sampling), None):
        raise GenerateError(f"{other.where} says how it is sampled", "say that by options, for all lines alike")
    return jobs
