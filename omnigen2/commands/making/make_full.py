"""`omnigen2 make-full`: a random model of the released sizes, to measure memory and time on."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omnigen2.commands.options import POSITIONAL, Parser, run_command

DESCRIPTION = """\
Write a complete model folder of the released sizes with random weights in bfloat16, 16 GB: a model that draws noise, to
see how much memory and time drawing takes on a machine before anything is downloaded. Writing it takes 1 GB of memory.

  omnigen2 make-full full
  omnigen2 generate --model full --prompt "a red cube" --dry_run --out cube.png
  python benchmarks/memory.py full
"""


@dataclass(frozen=True, kw_only=True)
class FullSettings:
    """What is written.

    Attributes:
        folder: The folder to write.
        seed: Of the weights.
    """

    folder: Path = field(metadata=POSITIONAL)
    seed: int = 0


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    return run_command(Parser(FullSettings, "make-full", "FOLDER [options]", DESCRIPTION), arguments, _run)


def _run(settings: FullSettings) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from omnigen2.generate import make_full

    console = Console(file=sys.stderr)
    columns = (TextColumn("writing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("writing", total=None)
        folder = make_full(
            settings.folder, seed=settings.seed, progress=lambda done, of: bar.update(task, completed=done, total=of)
        )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"wrote {folder} ({size / 2**30:.1f} GiB)")
