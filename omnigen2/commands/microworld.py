"""`omnigen2 microworld`: look at the drawn world that everything can be tried on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, assert_never

from omnigen2.commands.options import POSITIONAL, Parser, at_most, note, run_command
from omnigen2.errors import UserError

DESCRIPTION = """\
preview  writes a contact sheet of every task of the micro-world (captions, edits, in-context, questions, letters)
         with its texts and the verifier's verdicts, to be checked by eye.
model    copies the trained micro model (64 x 64 pixels) to a folder that `omnigen2 generate --model` takes.
tasks    writes tasks of every kind of the easy vocabulary, and pictures of what they ask for, to a folder that
         `omnigen2 evaluate micro-geneval --data` (micro-edit, micro-omnicontext) takes.

  omnigen2 microworld preview sheet.png
  omnigen2 microworld preview sheet.png --size 16 --seed 3
  omnigen2 microworld model micro
  omnigen2 microworld tasks tasks --count 24

The micro model knows these words, numbers from 1 to 3 and single letters, and reads any other word as one unknown sign:
a, above, add, and, are, away, background, below, black, blue, bottom, change, character, checked, circle, circles,
colour, cross, crosses, cyan, draw, everything, face, faces, four, from, green, grey, how, image, in, is, large, left,
magenta, make, many, move, no, object, of, on, one, plain, put, red, remove, replace, right, ring, rings, scene, shape,
small, square, squares, striped, take, the, there, thing, three, to, top, triangle, triangles, two, what, where, white,
with, write, yellow, yes, zero
"""


@dataclass(frozen=True, kw_only=True)
class MicroSettings:
    """What is written.

    Attributes:
        action: What to do.
        out: The picture (.png, .pdf or .svg) or the folder to write.
        size: Of the pictures in pixels, for preview and tasks.
        seed: Of the tasks, from 0, for preview and tasks.
        count: Of tasks of each kind, for tasks.
        overwrite: Replace a preview that is there already.
    """

    action: Literal["preview", "model", "tasks"] = field(metadata=POSITIONAL)
    out: Path = field(metadata=POSITIONAL)
    size: Literal[16, 32, 64] = 64
    seed: int = 0
    count: int = field(default=24, metadata=at_most(100_000))
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.count < 1 or self.seed < 0:
            raise UserError(
                f"expected --count of at least 1 and --seed of at least 0, got {self.count} and {self.seed}",
                "24 and 0 are usual",
            )


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = Parser(MicroSettings, "microworld", "preview OUT.png | model OUT | tasks OUT [options]", DESCRIPTION)
    return run_command(parser, arguments, _run)


def _run(settings: MicroSettings) -> None:
    used = {"preview": ("size", "seed", "overwrite"), "model": (), "tasks": ("size", "seed", "count")}[settings.action]
    for option in fields(MicroSettings):
        if option.name not in ("action", "out", *used) and getattr(settings, option.name) != option.default:
            note(f"--{option.name} has no effect with {settings.action}")
    from omnigen2.microworld import copy_micro_model

    match settings.action:
        case "preview":
            if settings.out.suffix not in (".png", ".pdf", ".svg"):
                raise UserError(
                    f"the preview cannot be written to {settings.out}", "end its name in .png, .pdf or .svg"
                )
            if settings.out.exists() and not settings.overwrite:
                raise UserError(
                    f"{settings.out} is there already", "write another file, or replace it with --overwrite"
                )
            from omnigen2.microworld.reports import preview

            settings.out.parent.mkdir(parents=True, exist_ok=True)
            preview(settings.size, settings.seed).savefig(settings.out, dpi=120)
        case "model":
            copy_micro_model(settings.out)
        case "tasks":
            _write_tasks(settings.out, settings.size, settings.count, settings.seed)
        case _:
            assert_never(settings.action)
    print(f"wrote {settings.out}")


def _write_tasks(folder: Path, size: int, count: int, seed: int) -> None:
    import numpy as np

    from omnigen2.microworld import EASY, draw
    from omnigen2.microworld.runs import write_micro
    from omnigen2.microworld.tasks import FAMILIES, kinds_of, sample_task

    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} has files already", "name a new or empty folder")
    rng = np.random.default_rng(seed)
    tasks = [
        sample_task(family, kind, EASY, rng)
        for family in FAMILIES
        for kind in kinds_of(family, EASY)
        for _ in range(count)
    ]
    write_micro(folder, tasks, [draw(task.target, size) for task in tasks])
