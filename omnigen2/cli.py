"""The commands `omnigen2` and `lightning`. Imports nothing heavy until a command needs it."""

import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.metadata import version

from omnigen2.commands.run import lightning_main

__all__ = ["COMMANDS", "lightning_main", "main"]

Command = Callable[[Sequence[str]], int]

OF_IMPORTS = {
    "torch.utils._pytree": "register_constant() on Enum subclasses",
    "diffusers.quantizers.torchao.torchao_quantizer": "Unable to import `torchao` Tensor objects",
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward",
}
"""What loggers say on importing the extra `quantize`, whether or not anything is quantised: about its code alone."""
for _logger, _words in OF_IMPORTS.items():
    logging.getLogger(_logger).addFilter(lambda record, words=_words: words not in record.getMessage())

USAGE = """\
usage: omnigen2 COMMAND …

commands:
  run RECIPE.yaml    train what a recipe describes, or go on with it (also: lightning run RECIPE.yaml)
  generate           draw, edit or combine pictures with a model folder
  chat               talk with a model, and let it draw
  evaluate BENCH     judge a folder of pictures on a benchmark, or compare two results
  make-tiny DIR      write a small random model to try the commands with
  make-full DIR      write a random model of the released sizes, 16 GB, to measure memory and time on
  calibrate          fit the cache TeaCache to a model
  export SOURCE      write trained weights as a model folder
  data               write jsonl files and images as chunks, or look at what a mixture holds
  curate RECIPE      make training examples of a folder of videos
  microworld         preview OUT.png: look at the drawn world that everything can be tried on
  reward             serve RECIPE.yaml: host a reward for training on other machines

options:
  --help             show this; `omnigen2 COMMAND --help` says more about a command
  --version          show the version
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `omnigen2`.

    Args:
        arguments: What follows the command's name; from `sys.argv` if not given.

    Returns:
        The exit status: 0 done, 1 failed, 2 the user has to mend something, 130 stopped by Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words else "--help"
    if name in COMMANDS:
        return COMMANDS[name](words[1:])
    if name in ("--help", "-h"):
        print(USAGE, end="")
        return 0
    if name in ("--version", "-V"):
        print(f"omnigen2 {version('omnigen2')}")
        return 0
    near = get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"commands: {', '.join(COMMANDS)}"
    print(f"omnigen2: there is no command {name!r}; {hint}", file=sys.stderr)
    return 2


def _lazy(module: str) -> Command:
    """A command that is imported when it is called."""
    return lambda arguments: int(importlib.import_module(f"omnigen2.commands.{module}").main(arguments))


COMMANDS: dict[str, Command] = {
    "run": _lazy("run"),
    "generate": _lazy("generate"),
    "chat": _lazy("chat"),
    "evaluate": _lazy("evaluate"),
    "make-tiny": _lazy("making.make_tiny"),
    "make-full": _lazy("making.make_full"),
    "calibrate": _lazy("making.calibrate"),
    "export": _lazy("export"),
    "data": _lazy("data"),
    "curate": _lazy("curate"),
    "microworld": _lazy("microworld"),
    "reward": _lazy("reward"),
}
