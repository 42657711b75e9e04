"""What can be wrong with data, told so that it can be mended."""

from dataclasses import dataclass
from pathlib import Path

from omnigen2.errors import UserError


class DataError(UserError):
    """Data or settings that cannot be used: what was got, what was expected; what to do."""


class LostChunk(DataError):
    """Many samples that cannot be read at once; it is raised even where broken samples are skipped."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be used.

    Attributes:
        file: The jsonl file; of a folder of pictures, the picture.
        line: Its line, counted from 1; 0 for the file as a whole.
        problem: What is wrong with it.
    """

    file: Path
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.problem}" if self.line else f"{self.file}: {self.problem}"

    def error(self, argument: str) -> DataError:
        """The record as an error, where an argument could have said that such records are left out."""
        remedy = f"mend or remove that {'line' if self.line else 'file'}"
        return DataError(str(self), remedy, skipping(argument))


def skipping(argument: str) -> dict[str, str]:
    """What a message says can be done instead: leave bad data out and count them, by an argument of this name."""
    return {argument: f"leave such data out with {{}}='skip' (in a recipe: `reading: {{{{{argument}: skip}}}}`)"}
