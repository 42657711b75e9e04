"""`omnigen2 microworld`: look at the drawn world that everything can be tried on."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from omnigen2.commands.parser import Parser, run_command

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
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows the word `microworld`.

    Returns:
        The exit status.
    """
    parser = Parser("microworld", "preview OUT.png | model OUT | tasks OUT [options]", DESCRIPTION)
    parser.add_argument("action", choices=["preview", "model", "tasks"], help="what to do")
    parser.add_argument("out", type=Path, metavar="OUT", help="the picture (.png, .pdf or .svg) or the folder to write")
    parser.option("--size", type=int, choices=[16, 32, 64], default=64, help="of the pictures in pixels (default 64)")
    parser.option("--seed", type=int, default=0, help="of the tasks, from 0 (default 0)")
    parser.option("--count", type=int, default=24, help="of tasks of each kind (default 24)")
    return run_command(parser, arguments, _run)


def _run(options: argparse.Namespace) -> None:
    from omnigen2.microworld import copy_micro_model
    from omnigen2.microworld.reports import preview

    match options.action:
        case "preview":
            if options.out.suffix not in (".png", ".pdf", ".svg"):
                raise ValueError(f"the preview cannot be written to {options.out}; end its name in .png, .pdf or .svg")
            options.out.parent.mkdir(parents=True, exist_ok=True)
            preview(options.size, options.seed).savefig(options.out, dpi=120)
        case "model":
            copy_micro_model(options.out)
        case _:
            _write_tasks(options.out, options.size, options.count, options.seed)
    print(f"wrote {options.out}")


def _write_tasks(folder: Path, size: int, count: int, seed: int) -> None:
    import numpy as np

    from omnigen2.microworld import EASY, draw
    from omnigen2.microworld.runs import write_micro
    from omnigen2.microworld.tasks import FAMILIES, kinds_of, sample_task, target_of

    if count < 1 or seed < 0:
        raise ValueError(
            f"expected --count of at least 1 and --seed of at least 0, got {count} and {seed}; 24 and 0 are usual"
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} has files already; name a new or empty folder")
    rng = np.random.default_rng(seed)
    tasks = [
        sample_task(family, kind, EASY, rng)
        for family in FAMILIES
        for kind in kinds_of(family, EASY)
        for _ in range(count)
    ]
    write_micro(folder, tasks, [draw(target_of(task), size) for task in tasks])
