"""`omnigen2 microworld`: look at the drawn world that everything can be tried on."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from omnigen2.commands.parser import Parser, run_command

DESCRIPTION = """\
preview  writes a contact sheet of every task of the micro-world (captions, edits, in-context, questions, letters)
         with its texts and the verifier's verdicts, to be checked by eye.
model    copies the trained micro model (64 x 64 pixels) to a folder that `omnigen2 generate --model` takes.

  omnigen2 microworld preview sheet.png
  omnigen2 microworld preview sheet.png --size 16 --seed 3
  omnigen2 microworld model micro
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows the word `microworld`.

    Returns:
        The exit status.
    """
    parser = Parser("microworld", "preview OUT.png | model OUT [options]", DESCRIPTION)
    parser.add_argument("action", choices=["preview", "model"], help="what to do")
    parser.add_argument("out", type=Path, metavar="OUT", help="the picture (.png, .pdf or .svg) or the folder to write")
    parser.option("--size", type=int, choices=[16, 32, 64], default=64, help="of the pictures in pixels (default 64)")
    parser.option("--seed", type=int, default=0, help="of the tasks, from 0 (default 0)")
    return run_command(parser, arguments, _run)


def _run(options: argparse.Namespace) -> None:
    from omnigen2.microworld.preview import preview
    from omnigen2.microworld.trained import copy_micro_model

    if options.action == "model":
        copy_micro_model(options.out)
    else:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        preview(options.size, options.seed).savefig(options.out, dpi=120)
    print(f"wrote {options.out}")
