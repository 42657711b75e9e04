"""What made all that a folder of chunks brings beside its images and words."""

from dataclasses import dataclass
from pathlib import Path

from omnigen2.data.samples.latents import LatentOrigin
from omnigen2.data.samples.states import StatesOrigin


@dataclass(frozen=True)
class Origins:
    """What was computed before training, and by what.

    Attributes:
        latents: What made the latents of samples with a target; None if they bring none.
        states: What made the text states of samples with a target; None if they bring none.
    """

    latents: LatentOrigin | None = None
    states: StatesOrigin | None = None

    def named(self) -> dict[str, LatentOrigin | StatesOrigin | None]:
        """Each of them under the name that people know it by."""
        return {"latents": self.latents, "text states": self.states}

    def save(self, folder: Path) -> None:
        """Write the accounts of what there is.

        Args:
            folder: Holds the chunks.
        """
        for origin in self.named().values():
            if origin is not None:
                origin.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "Origins":
        """Read the accounts.

        Args:
            folder: Holds the chunks.

        Returns:
            What was saved.

        Raises:
            DataError: If a file is damaged or of another format.
        """
        return cls(LatentOrigin.load(folder), StatesOrigin.load(folder))
