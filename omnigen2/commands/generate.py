"""`omnigen2 generate`: pictures from prompts."""

import secrets
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from omnigen2.commands.drawing import Work, pending, polynomial_of, saved
from omnigen2.commands.judging import JudgeSettings, NamedChooser, chooser_of
from omnigen2.commands.options import at_most, note, run_command
from omnigen2.commands.settings import (
    DrawingParser,
    ModelSettings,
    PictureSettings,
    needed,
    settled,
)
from omnigen2.encoders import ChatTokenizer, load_tokenizer
from omnigen2.errors import user_errors
from omnigen2.generate import (
    MOST_IMAGES,
    BestOf,
    Estimate,
    GenerateError,
    Job,
    ModelFolder,
    NoEffectWarning,
    Request,
    Sampling,
    check_jobs,
    check_picture_name,
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
  omnigen2 generate --model DIR --prompt "a red cube" --out cube.png --best_of 4 \\
      --judge http://127.0.0.1:8000/v1 --judge-model Qwen/Qwen2.5-VL-72B-Instruct

A file of prompts has one JSON object per line: {"prompt": "…"} and any of images, height, width, negative_prompt,
seed, out, meta, steps, text_scale, image_scale, guidance_interval, solver, time_shift, cache, cache_threshold,
cache_interval, guidance_every. Line n without a seed has the seed --seed + n - 1, with --seed 0 if it is not given;
with --best_of N it is --seed + (n - 1) N. All lines and their pictures are checked before the first is drawn. The
same command again skips what is finished.

With --best_of N a judge chooses: a vision-language model behind a server (the address; as an edit with one image, as
in-context generation with several), the recipe of any reward (as `omnigen2 reward serve` takes it), or `rules`, where
"meta" of a line has its task of the micro-world. The scores of all, and the judge's words, are stored in the best one's
file. Until it is chosen, the others are in OUT.candidates, and the same command again draws none of them twice.

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
        best_of: Draw so many of each, seed after seed, and keep the one that --judge likes best.
        keep_all: Keep the others too, in OUT.candidates.
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
    best_of: int = field(default=1, metadata=at_most(MOST_IMAGES))
    keep_all: bool = False
    judging: JudgeSettings = field(default_factory=JudgeSettings)
    model: ModelSettings
    picture: PictureSettings = field(default_factory=PictureSettings)
    sampling: Sampling = field(default_factory=Sampling)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    return run_command(DrawingParser(GenerateSettings, "generate", USAGE, DESCRIPTION), arguments, _run)


def _run(settings: GenerateSettings) -> None:
    folder = ModelFolder(settings.model.model)
    settings = replace(settings, model=settled(settings.model))
    chooser = _chooser(settings)
    best = None if chooser is None else BestOf(settings.best_of, chooser.choose, chooser.by, settings.keep_all)
    jobs = _pending(settings, _jobs(settings), best)
    if jobs:
        planner = planner_of(folder)
        with user_errors():
            tokenizer = load_tokenizer(folder.part("processor"), settings.model.rules)
        check_jobs(jobs, planner, tokenizer)
        polynomial_of(folder.path, jobs)
        _tell_notices(settings, jobs, tokenizer)
    work = Work(settings.model, jobs, settings.batch_size, best, settings.overwrite)
    if settings.dry_run:
        needs = [needed(settings.model, work.largest)] if work.batches else []
        pictures = sum(map(len, work.batches))
        print("\n".join([f"pictures to draw: {pictures}, batches: {len(work.batches)}", *map(_table, needs)]))
        return
    if chooser is not None and jobs:
        chooser.check(jobs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoEffectWarning)  # it is told
        for job, seed, chosen in work.draw():
            print(f"wrote {job.out} (seed {seed}{chosen})")
    print(saved(work.count), end="")


def _chooser(settings: GenerateSettings) -> NamedChooser | None:
    judge = settings.judging.judge
    if settings.best_of < 1:
        raise GenerateError(f"--best_of must be at least 1, got {settings.best_of}", "4 is usual")
    if settings.best_of == 1:
        given = "--judge" if judge else "--keep_all" if settings.keep_all else None
        if given:
            raise GenerateError(f"{given} goes with --best_of", "say of how many, such as --best_of 4")
        return None
    if not judge:
        raise GenerateError("--best_of needs a --judge", "a server's address, rules, or a reward's .yaml file")
    return chooser_of(settings.judging, judge, settings.judging.judge_model)


def _pending(settings: GenerateSettings, jobs: Sequence[Job], best: BestOf | None) -> Sequence[Job]:
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
    left = pending(jobs, settings.model, best)
    if len(left) < len(jobs):
        print(f"{len(jobs) - len(left)} of {len(jobs)} pictures are there already")
    return left


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
        return jobs_of_file(settings.from_file, settings.out, {**asdict(settings.sampling), **shared}, settings.best_of)
    check_picture_name(settings.out)
    shared.setdefault("seed", secrets.randbelow(2**31))
    request = Request(prompt=settings.prompt or "", images=settings.image, **shared)
    return jobs_of_prompt(request, settings.sampling, settings.out, settings.num_images, settings.best_of)


def _table(needs: Estimate) -> str:
    """One line per part, and the peak; on the host, how much of it can be taken back when memory is short."""
    rows = [(need.name, f"{need.parameters / 1e6:,.1f} M weights", need.bytes) for need in needs.weights]
    rows += [(need.name, "work space, about", need.bytes) for need in needs.work]
    rows += [("peak", "on the device, about", needs.peak)]
    rows += [("of files", "pages the system can drop", needs.peak - needs.own)] if needs.on_host else []
    return "\n".join(f"{name:12s} {what:>22s} {size / 2**20:12,.1f} MiB" for name, what, size in rows)
