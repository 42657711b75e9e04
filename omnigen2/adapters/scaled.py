"""An adapter and its strength, as people write them: `DIR` or `DIR:0.7`."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from omnigen2.errors import UserError


@dataclass(frozen=True)
class ScaledAdapter:
    """Where an adapter is, and how strongly it acts.

    Attributes:
        path: Its folder or file.
        scale: 1 as trained; any finite number, also below 0.

    Raises:
        UserError: If the scale is not finite.

    Example:
        >>> ScaledAdapter.parse("style:0.7").scale
        0.7
    """

    path: Path
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not isfinite(self.scale):
            raise UserError(f"the strength of the adapter {self.path} is {self.scale}", "expected a finite number")

    @classmethod
    def parse(cls, text: str) -> "ScaledAdapter":
        """Read `PATH[:SCALE]`; a path that exists as it stands wins.

        Raises:
            UserError: If what follows the path is no finite number.
        """
        front, colon, end = text.rpartition(":")
        if not colon or Path(text).exists():
            return cls(Path(text))
        try:
            return cls(Path(front), float(end))
        except UserError:
            raise
        except ValueError:
            if Path(front).exists():
                raise UserError(f"{text}: the strength {end!r} is no number", "write DIR:0.7") from None
            return cls(Path(text))

    @property
    def name(self) -> str:
        """What parameters of pictures call it: no place on the disk, and the strength where it is not 1."""
        name = self.path.resolve().name
        return name if self.scale == 1 else f"{name}:{self.scale!r}"
