"""`omnigen2 generate`: pictures from prompts."""

import argparse
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omnigen2.commands.jobs import Job, batches, jobs_of_file, jobs_of_prompt
from omnigen2.commands.model import (
    add_model_options,
    add_sampling_options,
    dtype_of,
    load_generator,
    progress_bar,
    sampling_options,
)
from omnigen2.commands.parser import Parser, run_command
from omnigen2.generate import (
    Estimate,
    GenerateError,
    ModelFolder,
    Request,
    Sampling,
    check_png_name,
    estimate,
    planner_of,
)

USAGE = "--model DIR (--prompt TEXT [--image FILE …] --out FILE.png | --from_file FILE.jsonl --out FOLDER) [options]"
DESCRIPTION = """\
Draw a prompt, edit an image, or combine several; what made a picture is stored inside its PNG file.

  omnigen2 generate --model DIR --prompt "a red cube" --out cube.png
  omnigen2 generate --model DIR --prompt "make it blue" --image cube.png --image_scale 1.5 --out blue.png
  omnigen2 generate --model DIR --from_file prompts.jsonl --out pictures

A file has one JSON object per line: {"prompt": "…"} and any of images, height, width, negative_prompt, seed, out,
steps, text_scale, image_scale, guidance_interval, solver. The same command again skips what is finished.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows the word `generate`.

    Returns:
        The exit status.
    """
    parser = Parser("generate", USAGE, DESCRIPTION)
    add_model_options(parser)
    parser.option("--prompt", metavar="TEXT", help="what to draw, or what to do with the images")
    parser.option("--image", action="append", default=[], metavar="FILE", help="reference; may be repeated")
    parser.option("--negative_prompt", default="", metavar="TEXT", help="what the unguided branches read")
    parser.option("--out", required=True, type=Path, metavar="PATH", help="file to write; with --from_file a folder")
    parser.option("--num_images", type=int, default=1, metavar="N", help="pictures of the prompt, seed after seed")
    parser.option("--from_file", type=Path, metavar="FILE.jsonl", help="many prompts, one JSON object per line")
    parser.option("--batch_size", type=int, default=1, metavar="N", help="pictures drawn together (default 1)")
    parser.option("--dry_run", action="store_true", help="say what it will need, load nothing")
    add_sampling_options(parser)
    return run_command(parser, arguments, _run)


def _run(options: argparse.Namespace) -> None:
    folder = ModelFolder(Path(options.model))
    jobs = _jobs(options)
    planner = planner_of(folder)
    for job in jobs:
        planner.check(job.request)
    resumes = options.from_file is not None
    if not resumes:
        planner(jobs[0].request)  # reads the images before a large model is loaded
    pending = [job for job in jobs if not (resumes and job.done)]
    if len(pending) < len(jobs):
        print(f"{len(jobs) - len(pending)} of {len(jobs)} pictures are there already")
    grouped = list(batches(pending, options.batch_size))
    if options.dry_run:
        needs = [_estimate(folder, options, batch) for batch in grouped[:1]]
        print("\n".join([f"pictures to draw: {len(pending)}, batches: {len(grouped)}", *map(table, needs)]))
    elif pending:
        _draw(options, grouped)


def _draw(options: argparse.Namespace, grouped: Sequence[tuple[Job, ...]]) -> None:
    generator = load_generator(options)
    with progress_bar(sum(batch[0].sampling.steps for batch in grouped), "drawing") as tell:
        for batch in grouped:
            pictures = generator.many([job.request for job in batch], batch[0].sampling, tell)
            for job, picture in zip(batch, pictures, strict=True):
                print(f"wrote {picture.save(job.out)} (seed {picture.request.seed})")


def _jobs(options: argparse.Namespace) -> list[Job]:
    if (options.prompt is None) == (options.from_file is None):
        raise GenerateError("give either --prompt or --from_file", "`omnigen2 generate --help` shows examples")
    sampling = sampling_options(options)
    shared: dict[str, Any] = {
        name: value
        for name in ("height", "width", "seed", "negative_prompt")
        if (value := getattr(options, name)) is not None
    }
    if options.from_file is not None:
        if options.image or options.num_images != 1:
            raise GenerateError("--image and --num_images go with --prompt", "write images into the lines of the file")
        if options.out.suffix or options.out.is_file():
            raise GenerateError(f"--out is {options.out}, but --from_file needs a folder", "give a name without .png")
        return jobs_of_file(options.from_file, options.out, {**sampling, **shared})
    check_png_name(options.out)
    shared.setdefault("seed", secrets.randbelow(2**31))
    request = Request(prompt=options.prompt, images=tuple(options.image), **shared)
    return jobs_of_prompt(request, Sampling(**sampling), options.out, options.num_images)


def _estimate(folder: ModelFolder, options: argparse.Namespace, batch: tuple[Job, ...]) -> Estimate:
    plans = [planner_of(folder)(job.request) for job in batch]
    return estimate(folder, plans, batch[0].sampling, dtype_of(options), options.offload, options.vae_memory)


def table(needs: Estimate) -> str:
    """The estimate for a terminal.

    Args:
        needs: By part.

    Returns:
        One line per part, and the peak.
    """
    rows = [(need.name, f"{need.parameters / 1e6:,.1f} M weights", need.bytes) for need in needs.weights]
    rows += [(need.name, "work space, about", need.bytes) for need in needs.work]
    rows += [("peak", "on the device, about", needs.peak)]
    return "\n".join(f"{name:12s} {what:>22s} {size / 2**20:12,.1f} MiB" for name, what, size in rows)
