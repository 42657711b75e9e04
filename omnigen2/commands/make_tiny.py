"""`omnigen2 make-tiny`: a small random model to try everything with."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omnigen2.commands.parser import Parser, run_command

DESCRIPTION = """\
Write a complete model folder in the released layout with small random weights: a model that draws noise, in a second
and without a network. Every other command takes it.

  omnigen2 make-tiny tiny
  omnigen2 generate --model tiny --prompt "a red cube" --height 64 --width 64 --out cube.png
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows the word `make-tiny`.

    Returns:
        The exit status.
    """
    parser = Parser("make-tiny", "DIR [options]", DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder to write")
    parser.option("--seed", type=int, default=0, help="of the weights (default 0)")
    parser.option("--overwrite", action="store_true", help="write into a folder that has files")
    return run_command(parser, arguments, _run)


def _run(options: argparse.Namespace) -> None:
    from transformers.utils import logging

    from omnigen2.generate import make_tiny

    cast(Any, logging).disable_progress_bar()
    folder = make_tiny(options.folder, options.seed, options.overwrite)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"wrote {folder} ({size / 2**20:.1f} MiB)")
