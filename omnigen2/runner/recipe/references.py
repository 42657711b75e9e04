"""`@stage/path`: the way in which a stage names a file or a folder that an earlier stage writes."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar

from jsonargparse import Namespace

from omnigen2.errors import UserError
from omnigen2.runner.recipe.classes import nearest

REFERENCE = re.compile(r"@([^/\s]+)/(\S.*)")
T = TypeVar("T")


class Places:
    """The folders of the stages that a stage may refer to, and what was asked of them.

    Args:
        folders: The folder of every earlier stage.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self.folders = folders
        self.used: dict[str, str] = {}
        """From paths to the references they stand for."""

    def filled(self, value: T) -> T:
        """A copy of nested mappings and lists with paths for every `@stage/path`."""
        return replaced(value, self.fill)

    def fill(self, text: str) -> str:
        """The path that a text stands for, if it is a reference; else the text itself.

        Raises:
            UserError: If there is no such stage.
        """
        match = REFERENCE.fullmatch(text)
        if match is None:
            return text
        name, path = match.groups()
        if name not in self.folders:
            known = list(self.folders)
            raise UserError(
                f"{text}: there is no earlier stage {name!r}{nearest(name, known)}",
                f"earlier stages: {', '.join(known) or 'none, this is the first one'}",
            )
        place = str(self.folders[name] / path)
        self.used[place] = text
        return place


def replaced(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of nested values, also of what the parser has made, with every text and path changed."""
    match value:
        case Namespace():
            copied = value.clone()
            vars(copied).update({key: replaced(inner, change) for key, inner in vars(copied).items()})
            return copied
        case dict():
            return {key: replaced(inner, change) for key, inner in value.items()}
        case list() | tuple() | set():
            return type(value)(replaced(inner, change) for inner in value)
        case PurePath():
            return type(value)(change(str(value)))
        case str():
            return change(value)
        case _:
            return value
