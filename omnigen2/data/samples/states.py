"""Text states that were computed before training, and the account of what made them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from omnigen2.data.samples.errors import DataError
from omnigen2.data.samples.stored import NAMES, NumberType, StoredTensor

STATES_FILE = "states.safetensors"
FORMAT = "omnigen2 states 1"
States: TypeAlias = Float[Tensor, "_ _"]
"""States of one text, shape (tokens, dim)."""


class StatesMismatch(DataError):
    """Stored text states are not those that a training needs. A fault of the settings, never of one sample."""


@dataclass(frozen=True)
class StatesOrigin:
    """What made text states: equal origins give equal states.

    Attributes:
        reader: Kind, type of numbers, configuration, tokenizer and weights of the model, as one line.
        prompts: How an instruction becomes a prompt, and which of its tokens are kept, as one line.
        dropped: The states that take the place of a sample's own where its prompt is dropped, shape (tokens, dim).
    """

    reader: str
    prompts: str
    dropped: StoredTensor = field(repr=False)

    def __str__(self) -> str:
        return f"{self.stored_as}, made by {self.reader}, of prompts by {self.prompts}"

    @property
    def stored_as(self) -> NumberType:
        """How numbers are stored: the type that the model has, so that nothing is rounded."""
        return self.dropped.stored_as

    def check(self, reader: str, prompts: str, where: str) -> None:
        """Refuse another model, and other prompts.

        Args:
            reader: The training's.
            prompts: Likewise.
            where: Names the data in the message.

        Raises:
            StatesMismatch: If one of them differs.
        """
        for got, expected in ((self.reader, reader), (self.prompts, prompts)):
            if got != expected:
                raise StatesMismatch(
                    f"the text states of {where} were made by {got}, but this training reads texts by {expected}\n"
                    "  read them the same way, or set `precomputed: ignore` to read anew, or write the chunks again"
                )

    def save(self, folder: Path) -> None:
        """Write the account.

        Args:
            folder: Holds the chunks.
        """
        facts = {"format": FORMAT, "reader": self.reader, "prompts": self.prompts}
        save_file({"dropped": self.dropped.tensor}, folder / STATES_FILE, facts)

    @classmethod
    def load(cls, folder: Path) -> "StatesOrigin | None":
        """Read the account.

        Args:
            folder: Holds the chunks.

        Returns:
            What was saved; None if the chunks have no text states.

        Raises:
            DataError: If the file is damaged or of another format.
        """
        file = folder / STATES_FILE
        if not file.is_file():
            return None
        try:
            with safe_open(file, "pt") as opened:
                facts = opened.metadata() or {}
                if facts.get("format") != FORMAT:
                    raise DataError(f"{file} has the metadata {facts}, expected format {FORMAT!r}; write it again")
                dropped = opened.get_tensor("dropped")
            return cls(facts["reader"], facts["prompts"], StoredTensor.of(dropped, NAMES[dropped.dtype]))
        except (KeyError, SafetensorError) as error:
            raise DataError(f"{file} is damaged ({error!r}); copy it anew or write the chunks again") from error


@dataclass(frozen=True, slots=True)
class SampleStates:
    """Text states of a sample.

    Attributes:
        instruction: Of its instruction, shape (tokens, dim).
        origin: What made them.

    Raises:
        DataError: If they have another number of axes or channels, or are of another type, than the origin says.
    """

    instruction: StoredTensor
    origin: StatesOrigin

    def __post_init__(self) -> None:
        got, dropped = self.instruction, self.origin.dropped
        if len(got.shape) != 2 or got.shape[1:] != dropped.shape[1:] or got.stored_as != dropped.stored_as:
            raise DataError(
                f"text states have shape {got.shape} as {got.stored_as}, expected (tokens, {dropped.shape[-1]}) as "
                f"{dropped.stored_as}; write the chunks again"
            )


@dataclass(frozen=True)
class ExampleStates:
    """Text states of an example that were computed before.

    Attributes:
        values: Of its instruction, or of a dropped prompt.
        origin: What made them.
    """

    values: States
    origin: StatesOrigin

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "ExampleStates":
        """The states on a device.

        Args:
            device: Where to.
            non_blocking: Do not wait for the copy.

        Returns:
            Others.
        """
        return ExampleStates(self.values.to(device, non_blocking=non_blocking), self.origin)


class InstructionEncoder(ABC):
    """Computes text states for `optimize`.

    Attributes:
        origin: What it makes them by.
    """

    origin: StatesOrigin

    @abstractmethod
    def states(self, instruction: str) -> States:
        """Read an instruction; called from several threads.

        Args:
            instruction: Not empty.

        Returns:
            Of the type that `origin` says.
        """

    def of(self, instruction: str) -> SampleStates:
        """Read the instruction of a sample.

        Args:
            instruction: Not empty.

        Returns:
            As it is stored.
        """
        return SampleStates(StoredTensor.of(self.states(instruction), self.origin.stored_as), self.origin)
