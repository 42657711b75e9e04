"""`omnigen2 generate`: pictures from prompts."""

import secrets
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from omnigen2.commands.parser import Parser, note, run_command
from omnigen2.commands.settings import (
    ModelSettings,
    PictureSettings,
    device_of,
    dtype_of,
    load_generator,
    progress_bar,
)
from omnigen2.encoders import ChatTokenizer, load_tokenizer
from omnigen2.errors import user_errors
from omnigen2.generate import (
    Estimate,
    GenerateError,
    Job,
    ModelFolder,
    NoEffectWarning,
    Request,
    Sampling,
    batches,
    check_jobs,
    check_picture_name,
    estimate,
    jobs_of_file,
    jobs_of_prompt,
    notices,
    planner_of,
)

USAGE = "--model DIR (--prompt TEXT [--image FILE …] --out FILE | --from_file FILE.jsonl --out FOLDER) [options]"
DESCRIPTION = """\
Draw a prompt, edit an image, or combine several; what made a picture is stored inside its file.

  omnigen2 generate --model DIR --prompt "a red cube" --out cube.png
  omnigen2 generate --model DIR --prompt "make it blue" --image cube.png --image_scale 1.5 --out blue.png
  omnigen2 generate --model DIR --from_file prompts.jsonl --out pictures
  omnigen2 generate --config job.yaml --seed 3

A file of prompts has one JSON object per line: {"prompt": "…"} and any of images, height, width, negative_prompt, seed,
out, steps, text_scale, image_scale, guidance_interval, solver, time_shift. Line n without a seed has the seed
--seed + n - 1, with --seed 0 if it is not given. All lines and their pictures are checked before the first is drawn.
The same command again skips what is finished.

A job file holds options under their names, `model: DIR` and so on; those on the command line win.
"""


@dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """What is drawn.

    Attributes:
        prompt: What to draw, or what to do with the images.
        image: Reference; may be repeated.
        negative_prompt: What the unguided branches read.
        out: File to write (.png, .webp, or .jpg with some loss); with --from_file a folder.
        num_images: Pictures of the prompt, seed after seed.
        from_file: JSON lines with many prompts, one object per line.
        batch_size: Pictures drawn together.
        dry_run: Say what it will need, load nothing.
        overwrite: Replace pictures that are there already.
    """

    prompt: str | None = None
    image: tuple[Path, ...] = ()
    negative_prompt: str = ""
    out: Path
    num_images: int = 1
    from_file: Path | None = None
    batch_size: int = 1
    dry_run: bool = False
    overwrite: bool = False
    model: ModelSettings
    picture: PictureSettings = field(default_factory=PictureSettings)
    sampling: Sampling = field(default_factory=Sampling)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    return run_command(Parser(GenerateSettings, "generate", USAGE, DESCRIPTION), arguments, _run)


def _run(settings: GenerateSettings) -> None:
    folder = ModelFolder(settings.model.model)
    pending = _pending(settings, _jobs(settings))
    grouped = list(batches(pending, settings.batch_size))
    if pending:
        planner = planner_of(folder)
        with user_errors():
            tokenizer = load_tokenizer(folder.part("processor"), settings.model.rules)
        check_jobs(pending, planner, tokenizer)
        _tell_notices(settings, pending, tokenizer)
    if settings.dry_run:
        needs = [_estimate(folder, settings.model, batch) for batch in grouped[:1]]
        print("\n".join([f"pictures to draw: {len(pending)}, batches: {len(grouped)}", *map(_table, needs)]))
    elif pending:
        _draw(settings.model, grouped)


def _pending(settings: GenerateSettings, jobs: Sequence[Job]) -> Sequence[Job]:
    """Those whose picture is not there, or is to be replaced.

    Raises:
        GenerateError: If the picture of a prompt is there, or that of a line was drawn otherwise.
    """
    if settings.overwrite:
        return jobs
    if settings.from_file is None:
        there = next((job.out for job in jobs if job.out.exists()), None)
        problem, remedy = f"{there} is there already", "write another file, or replace it with --overwrite"
        if there is not None and settings.dry_run:
            note(f"{problem}; {remedy}")
        elif there is not None:
            raise GenerateError(problem, remedy)
        return jobs
    model, adapters = settings.model.model.resolve().name, tuple(one.name for one in settings.model.adapters)
    pending = [job for job in jobs if not job.done(model, adapters)]
    if len(pending) < len(jobs):
        print(f"{len(jobs) - len(pending)} of {len(jobs)} pictures are there already")
    return pending


def _tell_notices(settings: GenerateSettings, jobs: Sequence[Job], tokenizer: ChatTokenizer) -> None:
    """Tell what has no effect."""
    if settings.model.vlm_sees_images and not any(job.request.images for job in jobs):
        note("--vlm_sees_images has no effect: there are no images")
    for adapter in settings.model.adapters:
        if not adapter.scale:
            note(f"--lora {adapter.path} has no effect with a strength of 0")
    told = (sentence for job in jobs for sentence in notices([job.request], job.sampling, tokenizer, "--"))
    for sentence in dict.fromkeys(told):
        note(sentence)


def _draw(model: ModelSettings, grouped: Sequence[tuple[Job, ...]]) -> None:
    generator = load_generator(model)
    steps = sum(batch[0].sampling.steps for batch in grouped)
    with progress_bar(steps, "drawing") as tell, warnings.catch_warnings():
        warnings.simplefilter("ignore", NoEffectWarning)  # it is told
        for batch in grouped:
            pictures = generator.many([job.request for job in batch], batch[0].sampling, tell)
            for job, picture in zip(batch, pictures, strict=True):
                print(f"wrote {picture.save(job.out)} (seed {picture.request.seed})")


def _jobs(settings: GenerateSettings) -> list[Job]:
    if (settings.prompt is None) == (settings.from_file is None):
        raise GenerateError("give either --prompt or --from_file", "`omnigen2 generate --help` shows examples")
    shared = {name: value for name, value in asdict(settings.picture).items() if value is not None}
    shared["negative_prompt"] = settings.negative_prompt
    if settings.from_file is not None:
        if settings.image or settings.num_images != 1:
            raise GenerateError("--image and --num_images go with --prompt", "write images into the lines of the file")
        if settings.out.suffix or settings.out.is_file():
            raise GenerateError(f"--out is {settings.out}, but --from_file needs a folder", "give a name without .png")
        return jobs_of_file(settings.from_file, settings.out, {**asdict(settings.sampling), **shared})
    check_picture_name(settings.out)
    shared.setdefault("seed", secrets.randbelow(2**31))
    request = Request(prompt=settings.prompt or "", images=settings.image, **shared)
    return jobs_of_prompt(request, settings.sampling, settings.out, settings.num_images)


def _estimate(folder: ModelFolder, model: ModelSettings, batch: Sequence[Job]) -> Estimate:
    plans = [planner_of(folder)(job.request) for job in batch]
    dtype = dtype_of(model.dtype, device_of(model.device))
    return estimate(folder, plans, batch[0].sampling, dtype, model.offload, model.vae_memory)


def _table(needs: Estimate) -> str:
    """One line per part, and the peak."""
    rows = [(need.name, f"{need.parameters / 1e6:,.1f} M weights", need.bytes) for need in needs.weights]
    rows += [(need.name, "work space, about", need.bytes) for need in needs.work]
    rows += [("peak", "on the device, about", needs.peak)]
    return "\n".join(f"{name:12s} {what:>22s} {size / 2**20:12,.1f} MiB" for name, what, size in rows)
