"""Files with one JSON object a line: the one reader of the library, and how a journal of such lines is kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omnigen2.errors import UserError
from omnigen2.files.json_text import MARK, JsonProblem, decoded, elements, parsed

KINDS: dict[type[object], str] = {
    dict: "a JSON object", list: "a JSON list", str: "a JSON text", int: "a number", float: "a number",
    bool: "true or false", type(None): "null",
}  # fmt: skip
"""What messages call what JSON gives."""


@dataclass(frozen=True, slots=True)
class JsonLine:
    """An object, and the line that it was read from.

    Attributes:
        number: Of the line, counted from 1; lines that are blank count.
        text: The line as it stands, without its end.
        value: What it says.
    """

    path: Path
    number: int
    text: str
    value: dict[str, Any]

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"{self.path}, line {self.number}"


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that holds no object, what is wrong with it ("is no JSON …"), and what to do."""

    path: Path
    number: int
    problem: str
    remedy: str


def each_json_line(path: Path, error: type[UserError] = UserError) -> Iterator[JsonLine | BadLine]:
    r"""Read a file line by line.

    Only `\n` ends a line, and a `\r` before it belongs to the end: U+2028, U+0085 and their like, at which
    `str.splitlines` cuts, are text. A byte order mark and blank lines are passed over.

    Args:
        path: UTF-8.
        error: What is raised.

    Yields:
        Lines in their order. A wrong one is a `BadLine` and does not end the reading.

    Raises:
        UserError: If there is no such file, or it cannot be opened.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError as missing:
        raise error(f"there is no file {path}", "check the path") from missing
    except OSError as reason:
        raise error(
            f"{path} cannot be read ({reason.strerror})", "expected a file with one JSON object a line"
        ) from reason
    with file:
        for number, line in enumerate(file, start=1):
            content = line.removesuffix(b"\n").removesuffix(b"\r").removeprefix(MARK)
            if content.strip():
                yield _parsed(path, number, content)


def each_json_item(path: Path, error: type[UserError] = UserError) -> Iterator[JsonLine | BadLine]:
    """Read the objects of a file that is one JSON list, or has one object a line.

    Args:
        path: UTF-8.
        error: What is raised.

    Yields:
        As `each_json_line`; an element of a list has the number of the line on which it begins.

    Raises:
        UserError: Also if a list is no JSON as a whole.
    """
    lines = each_json_line(path, error)
    first = next(lines, None)
    if first is None:
        return
    if not (isinstance(first, BadLine) and _is_list(path)):
        yield first
        yield from lines
        return
    try:
        text = decoded(path.read_bytes())
        whole: object = parsed(text)
    except JsonProblem as wrong:
        raise error(f"{path} {wrong.problem}", wrong.remedy) from wrong
    if not isinstance(whole, list):
        raise error(f"{path} is {KINDS[type(whole)]}, expected a list")
    number, seen = 1, 0
    for place, part, value in elements(text):
        number, seen = number + text.count("\n", seen, place), place
        yield _line(path, number, part, value, "mend or remove the element")


def read_json_lines(path: Path, error: type[UserError] = UserError) -> list[JsonLine]:
    """Read a file that has to be right; see `each_json_line`.

    Raises:
        UserError: Also if a line is no UTF-8, no JSON or no object; it is named with file and line.
    """
    lines: list[JsonLine] = []
    for line in each_json_line(path, error):
        if isinstance(line, BadLine):
            raise error(f"{path}, line {line.number} {line.problem}", line.remedy)
        lines.append(line)
    return lines


def drop_half_line(path: Path) -> None:
    """Cut off the last line of a journal if it has no end: its writer was stopped in the middle of it."""
    if path.exists():
        whole, newline, rest = path.read_bytes().rpartition(b"\n")
        if rest:
            path.write_bytes(whole + newline)


def _is_list(path: Path) -> bool:
    with path.open("rb") as file:
        return (
            next((line.removeprefix(MARK).lstrip()[:1] for line in file if line.removeprefix(MARK).strip()), b"")
            == b"["
        )


def _parsed(path: Path, number: int, content: bytes) -> JsonLine | BadLine:
    remedy = "mend or remove the line"
    try:
        text = decoded(content)
        return _line(path, number, text, parsed(text, remedy), remedy)
    except JsonProblem as wrong:
        return BadLine(path, number, wrong.problem, wrong.remedy)


def _line(path: Path, number: int, text: str, value: object, remedy: str) -> JsonLine | BadLine:
    if not isinstance(value, dict):
        return BadLine(path, number, f"is {KINDS[type(value)]}, expected an object", remedy)
    return JsonLine(path, number, text, cast(dict[str, Any], value))
