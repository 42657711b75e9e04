"""Options that say which model works where, and how it samples."""

import argparse
import sys
from collections.abc import Generator as Yields
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, cast, get_args

import torch

from omnigen2.commands.parser import Parser
from omnigen2.encoders import PromptRules, VAEMemory
from omnigen2.generate import Generator, Offload, Progress, Sampling, SolverName

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def add_model_options(parser: Parser) -> None:
    """Add the options that `load_generator` reads.

    Args:
        parser: The command's.
    """
    parser.option("--model", required=True, metavar="DIR", help="model folder in the released layout")
    parser.option("--lora", action="append", default=[], metavar="DIR", help="LoRA adapter; may be repeated")
    parser.option("--device", default=None, help="cpu, cuda, cuda:1, … (default: cuda if there is one)")
    parser.option("--dtype", choices=DTYPES, help="of the weights (default: bfloat16, on the CPU float32)")
    parser.option(
        "--offload",
        choices=get_args(Offload),
        default="none",
        help="idle: VLM and VAE wait in the host's memory (default: none)",
    )
    parser.option(
        "--vae_memory",
        choices=get_args(VAEMemory),
        default="one_by_one",
        help="tiled: large pictures in overlapping tiles (default: one_by_one)",
    )
    parser.option("--vlm_sees_images", action="store_true", help="show the references to the VLM too")


def add_sampling_options(parser: Parser) -> None:
    """Add the options that `sampling_options` reads.

    Args:
        parser: The command's.
    """
    parser.option("--height", type=int, metavar="PIXELS", help="multiple of 16 (default: of the only image, or 1024)")
    parser.option("--width", type=int, metavar="PIXELS", help="together with --height")
    parser.option("--seed", type=int, help="the same seed gives the same picture (default: drawn)")
    parser.option("--steps", type=int, help="default 28")
    parser.option("--text_scale", type=float, help="how much the prompt is followed; 1 is no guidance (default 4)")
    parser.option("--image_scale", type=float, help="how much the images are followed (default 1, edits 1.2 to 2)")
    parser.option(
        "--guidance_interval", type=float, nargs=2, metavar=("FIRST", "LAST"), help="guided part (default 0 1)"
    )
    parser.option("--solver", choices=get_args(SolverName), help="default euler")


def sampling_options(options: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `Sampling` that were given.

    Args:
        options: Parsed.

    Returns:
        Without those left out.
    """
    given = {field.name: getattr(options, field.name) for field in fields(Sampling)}
    if given["guidance_interval"] is not None:
        given["guidance_interval"] = tuple(given["guidance_interval"])
    return {name: value for name, value in given.items() if value is not None}


def device_of(options: argparse.Namespace) -> torch.device:
    """Where the model works, tried out.

    Args:
        options: Parsed.

    Returns:
        The device asked for, or the best there is.

    Raises:
        ValueError: If there is no such device, or this machine or this torch cannot use it.
    """
    try:
        device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ValueError(f"there is no device {options.device!r}; use cpu, cuda or cuda:1") from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter if torch was built without the device
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"the device {device} cannot be used here ({reason})\nuse --device cpu, or one there is"
        ) from error
    return device


def dtype_of(options: argparse.Namespace) -> torch.dtype:
    """The number format of the weights.

    Args:
        options: Parsed.

    Returns:
        The one asked for, or the default of the device.
    """
    default = "float32" if device_of(options).type == "cpu" else "bfloat16"
    return DTYPES[options.dtype or default]


def load_generator(options: argparse.Namespace) -> Generator:
    """Load what the options ask for, without progress bars of other libraries.

    Args:
        options: Parsed.

    Returns:
        The generator, with its adapters.
    """
    from transformers.utils import logging

    cast(Any, logging).disable_progress_bar()
    generator = Generator.from_folder(
        Path(options.model),
        dtype=dtype_of(options),
        device=device_of(options),
        offload=options.offload,
        vae_memory=options.vae_memory,
        rules=PromptRules(sees="text_and_images" if options.vlm_sees_images else "text"),
    )
    for path in options.lora:
        generator.load_lora(path)
    return generator


@contextmanager
def progress_bar(total: int, what: str) -> Yields[Progress]:
    """A bar on the terminal over the steps of all batches, from the first step on; nothing where there is no terminal.

    Args:
        total: Steps of all batches.
        what: In front of the bar.

    Yields:
        To be told after each step of a batch.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(file=sys.stderr)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn())
    bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(what, total=total)

    def tell(done: int, of: int) -> None:
        del done, of
        bar.start()
        bar.advance(task)

    try:
        yield tell
    finally:
        bar.stop()
