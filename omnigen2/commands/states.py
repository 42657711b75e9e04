"""Text states that are computed before training: the options of `omnigen2 data optimize`, and what they make."""

import argparse
from threading import Lock
from typing import get_args

from omnigen2.commands.model import device_of
from omnigen2.commands.parser import Parser
from omnigen2.data.samples import DataError, InstructionEncoder, States
from omnigen2.encoders import HiddenStateBridge, KeptTemplate, PromptRules
from omnigen2.training.flow_matching import TextStates
from omnigen2.training.parts import Precision, VLMFolder

NEEDS_VLM = ("vlm_type", "vlm_template")
MAX_TEXT = 888
"""Text tokens that the official training keeps of a prompt."""


class VLMStates(InstructionEncoder):
    """Text states of a vision-language model, as a training reads them.

    Args:
        reader: Of the training.

    Raises:
        DataError: If the model is shown the references: what it sees then depends on the batch.
    """

    def __init__(self, reader: TextStates) -> None:
        if reader.rules.sees != "text":
            raise DataError(
                "states cannot be stored of a model that is shown the references, since a training may drop them; read "
                "texts alone (`rules: {sees: text}`)"
            )
        self.reader = reader
        self.origin = reader.origin()
        self._lock = Lock()

    def states(self, instruction: str) -> States:
        """Read an instruction, while other threads wait: one at a time, so that no other text changes its states."""
        with self._lock:
            return self.reader.of_texts([instruction]).states


def add_state_options(parser: Parser) -> None:
    """Add the options that `states_of` reads.

    Args:
        parser: The command's.
    """
    parser.option("--vlm", metavar="DIR", help="store text states too; DIR has mllm/ and processor/")
    parser.option("--vlm_type", choices=get_args(Precision), help="with --vlm: of all numbers (default bfloat16)")
    parser.option("--vlm_template", choices=get_args(KeptTemplate), help="with --vlm: its tokens (default keep)")


def states_of(options: argparse.Namespace) -> VLMStates | None:
    """What the options ask for.

    Args:
        options: Of a parser with `add_state_options`, `--max_text` and `--device`.

    Returns:
        None without `--vlm`.

    Raises:
        DataError: If an option needs `--vlm` and it is not there.
    """
    if options.vlm is None:
        given = [name for name in NEEDS_VLM if getattr(options, name) is not None]
        if given:
            raise DataError(f"--{given[0]} is for text states; name their model with --vlm, or leave it out")
        return None
    bridge = HiddenStateBridge(template=options.vlm_template or "keep")
    rules = PromptRules(max_tokens=MAX_TEXT if options.max_text is None else options.max_text, overflow="cut")
    source = VLMFolder(options.vlm, options.vlm_type or "bfloat16")
    return VLMStates(TextStates(source.load(), bridge, rules, device=device_of(options)))
