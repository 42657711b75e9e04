"""`omnigen2 data`: jsonl files to chunks, and a look at what a mixture holds."""

import argparse
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from omnigen2.commands.latents import add_latent_options, latents_of
from omnigen2.commands.parser import Parser, run_command
from omnigen2.commands.states import add_state_options, states_of
from omnigen2.data import BAD_FILE, Advance
from omnigen2.data.samples import DataError, Origins
from omnigen2.pictures import AnimatedImages

USAGE = """\
usage: omnigen2 data COMMAND …

commands:
  optimize SPEC OUT  write jsonl files and their images as chunks that train from any disk
  inspect PATH       counts, tasks and sizes of a spec or of chunks, and a picture of some samples

`omnigen2 data COMMAND --help` says more.
"""
OPTIMIZE = """\
Write each entry of a SPEC (a yml file in the official layout, or one jsonl file) as a folder of litdata chunks.

  data:                                # SPEC.yml; paths are relative to it
    - {path: text_to_image.jsonl, ratio: 0.7}
    - {path: edits.jsonl, ratio: 0.3, image_root: images}

  {"task_type": "edit", "instruction": "…", "input_images": ["a.jpg"], "output_image": "b.jpg"}  # a line

Every record is checked, its images are decoded, and what was written is read back. Bad records are left out, counted
and listed with file and line in OUT/bad_records.jsonl; with --strict the first one stops.

With --vae, the latents of every sample with a target are stored beside its images, so that training need not encode
them. They serve trainings with the same codec and the same sizes (`budget: {resize: …}` of the recipe) only. With
--vlm, the states that a vision-language model has of its instruction are stored, for trainings with the same model,
number type, template and --max_text (then 888 if not given; what is longer is cut off). Other trainings refuse what is
stored, unless told to ignore it (`reading: {precomputed: ignore}`).
"""
INSPECT = """\
Show what a mixture holds. PATH is the OUT of `omnigen2 data optimize`, one of its folders, or a yml or jsonl file.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows the word `data`.

    Returns:
        The exit status.
    """
    commands: dict[str, Callable[[Sequence[str]], int]] = {"optimize": _optimize, "inspect": _inspect}
    name = arguments[0] if arguments else "--help"
    if name in commands:
        return commands[name](arguments[1:])
    if name in ("--help", "-h"):
        print(USAGE, end="")
        return 0
    near = get_close_matches(name, commands, n=1)
    hint = f"did you mean {near[0]}?" if near else f"commands: {', '.join(commands)}"
    print(f"error: omnigen2 data has no command {name!r}\n       {hint}", file=sys.stderr)
    return 2


def _optimize(arguments: Sequence[str]) -> int:
    parser = Parser("data optimize", "SPEC OUT [options]", OPTIMIZE)
    parser.add_argument("spec", type=Path, metavar="SPEC", help="a yml or jsonl file")
    parser.add_argument("out", type=Path, metavar="OUT", help="an empty folder, or one that does not exist")
    parser.option("--strict", action="store_true", help="stop at the first bad record")
    parser.option("--threads", type=int, default=4, help="images decoded at a time (default 4)")
    parser.option("--chunk_mb", type=float, default=64, help="size of a chunk in MiB (default 64)")
    parser.option("--tokenizer", type=Path, metavar="DIR", help="count text tokens with its tokenizer.json, not bytes")
    parser.option("--template", type=int, default=128, help="text tokens that the chat template takes (default 128)")
    parser.option("--max_text", type=int, metavar="N", help="text tokens that the encoder keeps of a sample at most")
    parser.option("--animated", choices=get_args(AnimatedImages), default="refuse", help="what to do with animations")
    add_latent_options(parser)
    add_state_options(parser)
    parser.option("--device", help="with --vae or --vlm: where it works (default: cuda if there is one)")
    return run_command(parser, arguments, _run_optimize)


def _run_optimize(options: argparse.Namespace) -> None:
    from omnigen2.data import ByteLength, OptimizeSettings, TokenizerLength, optimize
    from omnigen2.pictures import ImageReader

    if options.device is not None and options.vae is None and options.vlm is None:
        raise DataError("--device is for what is computed; name a model with --vae or --vlm, or leave it out")
    if options.tokenizer is None:
        text = ByteLength(options.template, limit=options.max_text)
    else:
        text = TokenizerLength(options.tokenizer, options.template, limit=options.max_text)
    settings = OptimizeSettings(
        strict=options.strict,
        chunk_bytes=int(options.chunk_mb * 2**20),
        threads=options.threads,
        text=text,
        reader=ImageReader(animated=options.animated),
        latents=latents_of(options),
        states=states_of(options),
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[bad]} bad"), console=Console(stderr=True)) as drawing:
        bars: dict[str, TaskID] = {}

        def show(advance: Advance) -> None:
            if advance.name not in bars:
                bars[advance.name] = drawing.add_task(advance.name, bad=0)
            drawing.update(bars[advance.name], completed=advance.done, total=advance.total, bad=advance.bad)

        report = optimize(options.spec, options.out, settings, show)
    for source in report.sources:
        print(f"{source.name}: {source.written} samples, {source.bad} bad records left out, ratio {source.ratio:.4g}")
    if report.bad:
        print(f"what is wrong with the {len(report.bad)} bad records: {options.out / BAD_FILE}")
        print(f"  the first: {report.bad[0]}")
    _print_origins(settings.origins)
    print(f"wrote {options.out}")


def _print_origins(origins: Origins, indent: str = "") -> None:
    for name, origin in origins.named().items():
        if origin is not None:
            print(f"{indent}{name}: {origin}")


def _inspect(arguments: Sequence[str]) -> int:
    parser = Parser("data inspect", "PATH [options]", INSPECT)
    parser.add_argument("path", type=Path, metavar="PATH", help="chunks, or a yml or jsonl file")
    parser.option("--out", type=Path, metavar="FILE.png", help="picture of some samples (default: contact_sheet.png)")
    parser.option("--each", type=int, default=12, help="samples of each source in the picture (default 12)")
    parser.option("--seed", type=int, default=0, help="of their choice (default 0)")
    parser.option("--animated", choices=get_args(AnimatedImages), default="refuse", help="what to do with animations")
    return run_command(parser, arguments, _run_inspect)


def _run_inspect(options: argparse.Namespace) -> None:
    from omnigen2.data import contact_sheet, open_data, summarise
    from omnigen2.pictures import ImageReader

    out: Path = options.out or Path("contact_sheet.png")
    if out.suffix.lower() != ".png":
        raise DataError(f"--out is {out}, expected a name that ends in .png")
    reader = ImageReader(animated=options.animated)
    opened = open_data(options.path, bad_records="skip", reader=reader)
    for name, source in opened.sources.items():
        summary = summarise(source)
        print(f"{name}: {summary.samples} samples, ratio {opened.weights[name]:.4g}")
        print(f"  tasks: {', '.join(f'{task} {count}' for task, count in summary.tasks.items())}")
        print(f"  references: {', '.join(f'{count} with {number}' for number, count in summary.references.items())}")
        print("  text tokens at most: smallest {}, median {}, largest {}".format(*summary.text_tokens))
        if summary.targets:
            low, middle, high = (f"{width}x{height}" for height, width in summary.targets)
            print(f"  targets (width x height): smallest {low}, median {middle}, largest {high}")
        _print_origins(source.origins(), "  ")
    for record in opened.bad[:20]:
        print(f"bad record left out: {record}")
    if len(opened.bad) > 20:
        print(f"and {len(opened.bad) - 20} more bad records")
    contact_sheet(opened.sources, options.each, options.seed, reader).save(out)
    print(f"wrote {out}")
