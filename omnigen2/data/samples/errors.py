"""What can be wrong with data, told so that it can be mended."""

from dataclasses import dataclass
from pathlib import Path

from omnigen2.errors import UserError


class DataError(UserError):
    """Data or settings that cannot be used: what was got, what was expected; what to do."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be used.

    Attributes:
        file: The jsonl file.
        line: Its line, counted from 1; 0 for the file as a whole.
        problem: What is wrong with it.
    """

    file: Path
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.problem}"
