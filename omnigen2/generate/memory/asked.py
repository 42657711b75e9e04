"""What is asked for, as far as memory is concerned."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from omnigen2.encoders import HiddenStateBridge
from omnigen2.errors import UserError
from omnigen2.flow import Guidance


class RoomError(UserError):
    """Models whose need is not known, or that cannot be placed as asked, or that do not fit."""


@runtime_checkable
class Folder(Protocol):
    """A model folder, see `omnigen2.generate.ModelFolder`."""

    def part(self, name: str) -> Path:
        """The subfolder of a part."""
        ...

    def config(self, part: str) -> dict[str, Any]:
        """The configuration of a part."""
        ...

    def bridge(self) -> HiddenStateBridge:
        """Which hidden states the transformer was trained with."""
        ...


@runtime_checkable
class Sized(Protocol):
    """A reference."""

    @property
    def width(self) -> int:
        """In pixels."""
        ...

    @property
    def height(self) -> int:
        """In pixels."""
        ...


@runtime_checkable
class Planned(Protocol):
    """A picture to be drawn."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        ...

    @property
    def references(self) -> Sequence[Sized]:
        """Its references."""
        ...


@runtime_checkable
class Guided(Protocol):
    """How pictures are sampled."""

    def guidance(self, references: bool) -> Guidance | None:
        """The rule that joins the branches; None if there is one branch."""
        ...
