"""What the commands share: options in both spellings, and errors in two lines."""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from omnigen2.generate import GenerateError

Run = Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """Knows every option with `_` and with `-`, and raises instead of leaving the process.

    Args:
        name: The command.
        usage: What follows the program's name.
        description: What it does.
    """

    def __init__(self, name: str, usage: str, description: str) -> None:
        super().__init__(
            prog=f"omnigen2 {name}",
            usage=f"omnigen2 {name} {usage}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.option("--verbose", action="store_true", help="show the traceback of an error")

    def option(self, name: str, **settings: Any) -> None:
        """Add an option.

        Args:
            name: With underscores.
            **settings: Of `add_argument`.
        """
        self.add_argument(*dict.fromkeys((name, f"--{name[2:].replace('_', '-')}")), **settings)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found.

        Args:
            message: What is wrong.

        Raises:
            GenerateError: Always.
        """
        raise GenerateError(message, f"`{self.prog} --help` shows the options")


def run_command(parser: Parser, arguments: Sequence[str], run: Run) -> int:
    """Parse and run, and tell errors that a user can mend in two lines.

    Args:
        parser: The command's.
        arguments: What follows the command's name.
        run: What the command does.

    Returns:
        The exit status: 0 done, 2 the user has to mend something, 130 stopped by Ctrl-C.
    """
    from torch import OutOfMemoryError

    try:
        run(parser.parse_args(arguments))
    except (ValueError, OSError, OutOfMemoryError) as error:
        if "--verbose" in arguments:
            traceback.print_exc()
        print(two_lines(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; what is finished is kept", file=sys.stderr)
        return 130
    return 0


def two_lines(error: ValueError | OSError | RuntimeError) -> str:
    """What is wrong, and what to do.

    Args:
        error: Ours say both, on two lines or on both sides of a semicolon.

    Returns:
        Two lines.
    """
    text = str(error).strip()
    problem, _, remedy = text.partition("\n") if "\n" in text else text.partition("; ")
    if "out of memory" in problem:
        remedy = "try --offload idle, --vae_memory tiled, a smaller --batch_size or --height and --width"
    second = " ".join(remedy.split()) or "--verbose shows where it happened"
    return f"error: {problem}\n       {second}"
