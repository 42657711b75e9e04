"""Files with one JSON object a line: the one reader of the library, and how a journal of such lines is kept."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omnigen2.errors import UserError

MARK = b"\xef\xbb\xbf"
"""A byte order mark, as some editors put it before UTF-8."""


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


def _parsed(path: Path, number: int, content: bytes) -> JsonLine | BadLine:
    remedy = "mend or remove the line"
    try:
        text = content.decode("utf-8")
        value: object = json.loads(text, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        return BadLine(path, number, f"is no UTF-8 ({error.reason} at byte {error.start + 1})", "convert the file")
    except json.JSONDecodeError as error:
        return BadLine(path, number, f"is no JSON ({error.msg} at character {error.pos + 1})", remedy)
    except RecursionError:
        return BadLine(path, number, "is nested too deeply", remedy)
    except ValueError as error:
        return BadLine(path, number, str(error), remedy)
    if not isinstance(value, dict):
        return BadLine(path, number, f"is a JSON {type(value).__name__}, expected an object", remedy)
    return JsonLine(path, number, text, cast(dict[str, Any], value))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"has {', '.join(twice)} twice; keep one of them")
    return fields
