"""What a benchmark's metric says: a table of means, with the number of valid judgements beside every line."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omnigen2.files import markdown_table, number


@dataclass(frozen=True, slots=True)
class Line:
    """The means of one subtask, or of several.

    Attributes:
        values: By column; not a number if there is no valid judgement.
        valid: Judgements that the means are over.
        total: Judgements that were asked for; `total - valid` of them failed.
        present: How many of the line's subtasks have a valid judgement; the mean is over these.
        expected: How many subtasks the line is about.
    """

    name: str
    values: Mapping[str, float]
    valid: int
    total: int
    present: int = 1
    expected: int = 1

    @property
    def complete(self) -> bool:
        """Whether no judgement failed and no subtask is missing."""
        return self.valid == self.total and self.present == self.expected

    @property
    def count(self) -> str:
        """`valid / total`, and how many subtasks that is, if some are missing."""
        missing = "" if self.present == self.expected else f", {self.present} of {self.expected} subtasks"
        return f"{self.valid} / {self.total}{missing}"


@dataclass(frozen=True, slots=True)
class Summary:
    """All lines of one benchmark.

    Attributes:
        lines: Subtasks first, then the means over them; the last line is the benchmark's result.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    digits: int = 2

    def __getitem__(self, name: str) -> Line:
        """The line of that name.

        Raises:
            KeyError: If there is none.
        """
        for line in self.lines:
            if line.name == name:
                return line
        raise KeyError(f"{self.title} has no line {name!r}; it has {', '.join(line.name for line in self.lines)}")

    @property
    def result(self) -> Line:
        """The line of the whole benchmark."""
        return self.lines[-1]

    @property
    def failed(self) -> int:
        """Judgements that failed."""
        return self.result.total - self.result.valid

    def table(self) -> str:
        """A Markdown table, followed by a sentence if the means are not over everything."""
        head = ["", *self.columns, "valid / total"]
        rows = [
            [line.name, *(number(line.values[column], self.digits) for column in self.columns), line.count]
            for line in self.lines
            if line.total
        ]
        return "\n\n".join([markdown_table(head, rows, right=True), *self._caveats()])

    def __str__(self) -> str:
        values = ", ".join(f"{name} {number(self.result.values[name], self.digits)}" for name in self.columns)
        return " ".join([f"{self.title}: {values} (valid {self.result.count}).", *self._caveats()])

    def to_json(self) -> dict[str, Any]:
        """The same as plain data; what is not a number becomes None."""
        return {
            "title": self.title,
            "columns": list(self.columns),
            "lines": [
                {
                    "name": line.name,
                    "values": {name: None if math.isnan(value) else value for name, value in line.values.items()},
                    "valid": line.valid,
                    "total": line.total,
                    "subtasks_present": line.present,
                    "subtasks_expected": line.expected,
                }
                for line in self.lines
                if line.total
            ],
        }

    def _caveats(self) -> list[str]:
        found: list[str] = []
        if self.failed:
            found.append(f"{self.failed} of {self.result.total} judgements failed; the means are over the others.")
        if self.result.present < self.result.expected:
            missing = self.result.expected - self.result.present
            found.append(
                f"{missing} of {self.result.expected} subtasks have no valid judgement: not the whole benchmark."
            )
        return found
