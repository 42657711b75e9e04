"""`@stage/path`: the way in which a stage names a file or a folder that an earlier stage writes."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from omnigen2.errors import UserError
from omnigen2.runner.recipe.messages import nearest

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
        """A copy of nested mappings and lists with paths for every `@stage/path`, in options behind the `=` too."""
        return replaced(value, self._fill)

    def _fill(self, text: str) -> str:
        option, equals, setting = text.partition("=") if text.startswith("--") else ("", "", text)
        match = REFERENCE.fullmatch(setting)
        if match is None:
            return text
        name, path = match.groups()
        if name not in self.folders:
            known = list(self.folders)
            raise UserError(
                f"{setting}: there is no earlier stage {name!r}{nearest(name, known)}",
                f"earlier stages: {', '.join(known) or 'none, this is the first one'}",
            )
        place = str(self.folders[name] / path)
        self.used[place] = setting
        return f"{option}{equals}{place}"


def to_references(value: T, references: Mapping[str, str]) -> T:
    """Replace paths in nested mappings and lists by the references that they stand for; returns a copy."""
    return replaced(value, lambda text: references.get(text, text))


def replaced(value: Any, change: Callable[[str], str]) -> Any:
    """Change every string in nested mappings and lists; returns a copy."""
    if isinstance(value, dict):
        return {key: replaced(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [replaced(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value


def strings(value: Any) -> set[str]:
    """Collect every string in nested mappings and lists, but not their keys."""
    if isinstance(value, dict):
        return {text for inner in value.values() for text in strings(inner)}
    if isinstance(value, list):
        return {text for inner in value for text in strings(inner)}
    return {value} if isinstance(value, str) else set()
