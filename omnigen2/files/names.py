"""Names that stand in data files: as parts of paths they stay in their folder, as keys they stand for one thing."""

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Generic, TypeVar

from omnigen2.errors import UserError

LONGEST = 200
"""Bytes of a name; file systems take 255, and an ending is put behind it."""

Value = TypeVar("Value")


def plain_name(name: str, where: str, error: type[UserError] = UserError) -> str:
    """A text that is to be one part of a path: the name of a file or a folder, without its ending.

    Args:
        where: What messages call it, such as "rows.jsonl, line 3: the key".

    Raises:
        UserError: If it is empty, has slashes or characters that cannot be shown, is dots alone, or is too long.
    """
    wrong = not name.isprintable() or not name.strip(". ") or "/" in name or "\\" in name
    if wrong or len(name.encode("utf-8", "replace")) > LONGEST:
        raise error(
            f"{where} {_told(name)} is no file name",
            f"expected no slashes, no dots alone, no control characters, and at most {LONGEST} bytes",
        )
    return name


def inside(folder: Path, name: str, where: str, error: type[UserError] = UserError) -> Path:
    """A file that a data file names by a path, seen from a folder; it may be in a folder further down.

    Raises:
        UserError: If the path leaves the folder, or can name no file.
    """
    parts = PurePosixPath(name)
    leaves = ".." in parts.parts or (parts.is_absolute() and not parts.is_relative_to(folder.absolute()))
    leaves = leaves or any(len(part.encode("utf-8", "replace")) > LONGEST for part in parts.parts)
    if leaves or not name or not name.isprintable() or PureWindowsPath(name).drive or "\\" in name:
        raise error(f"{where} {_told(name)} is no path inside {folder}", "put the file there, and name it from there")
    return folder / name


class Keys(Generic[Value]):
    """Keys and what each stands for; a key that comes again must stand for the same.

    Args:
        what: What messages call a key, such as "answer".
        error: What is raised.
        remedy: What messages say is to be done.
    """

    def __init__(self, what: str, error: type[UserError] = UserError, remedy: str = "keep one of them") -> None:
        self.what, self.error, self.remedy = what, error, remedy
        self.values: dict[str, Value] = {}
        self._places: dict[str, str] = {}

    def add(self, key: str, value: Value, where: str, repeats: bool = False) -> None:
        """Note what a key stands for.

        Args:
            where: Its place, such as a file and a line.
            repeats: Whether the same again is passed over.

        Raises:
            UserError: If the key was there before; both places are named.
        """
        if key in self.values:
            same = self.values[key] == value
            if same and repeats:
                return
            differently = "" if same else " and says something else"
            raise self.error(
                f"{where}: the {self.what} {_told(key)} comes again{differently}, first at {self._places[key]}",
                self.remedy,
            )
        self.values[key], self._places[key] = value, where


def _told(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:80]}…")
