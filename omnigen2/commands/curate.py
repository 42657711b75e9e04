"""`omnigen2 curate`: from a folder of clips to training examples, and other thresholds on what was found."""

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from omnigen2.commands.options import POSITIONAL, Parser, note, run_command
from omnigen2.errors import UserError

if TYPE_CHECKING:
    from omnigen2.curation import Engine
    from omnigen2.curation import Progress as Seen

DESCRIPTION = """\
Make training examples of the clips in a folder: of its videos, or of its pictures, as the recipe says. It names the
steps, one after another; each keeps what it sees or drops it for a reason. OUT gets examples.jsonl and its pictures,
which `omnigen2 data optimize` takes, and report.md and gallery/index.html to look at.

  omnigen2 curate recipes/curation/video_edit.yaml --clips VIDEOS --out OUT
  omnigen2 curate recipes/curation/recaption.yaml --clips PICTURES --out OUT
  omnigen2 curate RECIPE.yaml --clips FOLDER --out OUT --set same_view.least=0.7 --set vars.server.model=NAME
  omnigen2 curate retune OUT --threshold same_view.least=0.7

It can be stopped at any time: the same command goes on. What is finished is known by its content, so files may be
renamed, and new ones are picked up. Work is done by Ray on all cores of this machine; on a cluster that runs already
with --address, where all machines must see both folders; or in this process with --engine here.

`omnigen2 curate retune --help` says how to try other thresholds on what was found, `omnigen2 curate reflect --help` how
to make reflection data: pictures, what is wrong with them, and better ones.
"""
RETUNE = """\
Show what other thresholds would keep and drop of what `omnigen2 curate` has found in OUT. No model runs. Thresholds are
listed in OUT/curation.json. With --write, the examples that would be kept are written to a jsonl file in OUT.

Items that would go on only now have not been shown to the later steps: for those, make a new OUT with --set.
"""


@dataclass(frozen=True, kw_only=True)
class CurateSettings:
    """What is done with which clips.

    Attributes:
        recipe: A YAML file with steps.
        clips: The folder of videos or pictures; those inside it are looked through as well.
        out: Folder of examples, report and gallery.
        set: Changes a setting of the recipe, as STEP.SETTING=VALUE; may be repeated.
        engine: Who does the work.
        address: Of a Ray cluster, HOST:PORT or auto (default: a Ray of this machine alone).
        cpus: Cores that a Ray of this machine uses (default: all).
        patience: Seconds without a finished clip after which Ray is stopped.
        retry_errors: Do clips again in which a step has failed.
    """

    recipe: Path = field(metadata=POSITIONAL)
    clips: Path
    out: Path
    set: tuple[str, ...] = ()
    engine: Literal["ray", "here"] = "ray"
    address: str | None = None
    cpus: int | None = None
    patience: float = 3600.0
    retry_errors: bool = False

    def __post_init__(self) -> None:
        if (self.cpus is not None and self.cpus < 1) or self.patience <= 0:
            raise UserError(
                f"expected --cpus of at least 1 and --patience above 0, got {self.cpus} and {self.patience:g}"
            )
        if self.engine == "here" and (self.address is not None or self.cpus is not None):
            raise UserError("--address and --cpus are for --engine ray", "leave them out, or --engine here")
        if self.address is not None and self.cpus is not None:
            raise UserError("--cpus is for a Ray of this machine, --address for a cluster", "leave one of them out")


@dataclass(frozen=True, kw_only=True)
class RetuneSettings:
    """Which thresholds are tried.

    Attributes:
        out: What was --out of `omnigen2 curate`.
        threshold: NAME=VALUE; may be repeated.
        write: A jsonl file in OUT, for the examples that would be kept.
    """

    out: Path = field(metadata=POSITIONAL)
    threshold: tuple[str, ...] = ()
    write: str | None = None


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    if arguments[:1] == ["reflect"]:
        return importlib.import_module("omnigen2.commands.reflecting").main(arguments[1:])
    if arguments[:1] == ["retune"]:
        parser = Parser(RetuneSettings, "curate retune", "OUT --threshold NAME=VALUE [options]", RETUNE)
        return run_command(parser, arguments[1:], _retune)
    parser = Parser(CurateSettings, "curate", "RECIPE.yaml --clips FOLDER --out FOLDER [options]", DESCRIPTION)
    return run_command(parser, arguments, _curate)


def _curate(settings: CurateSettings) -> None:
    from omnigen2.curation import curate, read_recipe

    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # steps of one's own
    recipe = read_recipe(settings.recipe, settings.set)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as drawing:
        bar = drawing.add_task("reading", total=None)

        def show(seen: "Seen") -> None:
            done = seen.known + seen.done + len(seen.unanswered)
            drawing.update(bar, description="clips", completed=done, total=seen.clips)

        engine = _engine(settings)
        seen = curate(recipe, settings.clips, settings.out, engine, settings.retry_errors, show)
    _tell(settings.out, seen)


def _engine(settings: CurateSettings) -> "Engine":
    from omnigen2.curation import InProcess, RayEngine

    if settings.engine == "here":
        return InProcess()
    return RayEngine(settings.address, settings.cpus, settings.patience)


def _tell(out: Path, seen: "Seen") -> None:
    print(f"{seen.files} files: {seen.done} clips done, {seen.known} were known")
    for number, what in (
        (len(seen.copies), "are copies of others"),
        (len(seen.unreadable), "could not be read"),
        (len(seen.unanswered), "wait for another try: give the same command again"),
        (seen.errors, "have items in which a step failed; --retry_errors does them again"),
    ):
        if number:
            note(f"{number} {what}")
    examples = sum(1 for _ in (out / "examples.jsonl").open("rb"))
    print(f"wrote {out}: {examples} examples in examples.jsonl; see report.md and gallery/index.html")


def _retune(settings: RetuneSettings) -> None:
    from omnigen2.curation import retune

    thresholds: dict[str, float] = {}
    for threshold in settings.threshold:
        name, _, value = threshold.partition("=")
        try:
            thresholds[name] = float(value)
        except ValueError as error:
            raise UserError(f"--threshold is {threshold!r}", "write NAME=VALUE with a number") from error
    print(retune(settings.out, thresholds, settings.write).table())
    if settings.write is not None:
        print(f"wrote {settings.out / settings.write}")
