"""`omnigen2 make-tiny`: a small random model to try everything with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from omnigen2.commands.options import POSITIONAL, Parser, run_command

DESCRIPTION = """\
Write a complete model folder in the released layout with small random weights: a model that draws noise, in a second
and without a network. Every other command takes it.

  omnigen2 make-tiny tiny
  omnigen2 generate --model tiny --prompt "a red cube" --height 64 --width 64 --out cube.png
"""


@dataclass(frozen=True, kw_only=True)
class TinySettings:
    """What is written.

    Attributes:
        folder: The folder to write.
        seed: Of the weights.
        overwrite: Write into a folder that has files.
    """

    folder: Path = field(metadata=POSITIONAL)
    seed: int = 0
    overwrite: bool = False


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    return run_command(Parser(TinySettings, "make-tiny", "FOLDER [options]", DESCRIPTION), arguments, _run)


def _run(settings: TinySettings) -> None:
    from transformers.utils import logging

    from omnigen2.generate import make_tiny

    cast(Any, logging).disable_progress_bar()
    folder = make_tiny(settings.folder, settings.seed, settings.overwrite)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"wrote {folder} ({size / 2**20:.1f} MiB)")
