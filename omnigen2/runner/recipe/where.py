"""Where a setting of a recipe stands: on the command line, or in the last file that has it, and on which line."""

from collections.abc import Sequence
from pathlib import Path

import yaml

BETWEEN = ("class_path", "init_args")
"""What stands between the names of a setting in a recipe, and not in the parser's messages."""


def place_of(setting: str, files: Sequence[Path], options: Sequence[str]) -> str:
    """Where a setting has got its value, or nothing if it is not found.

    Args:
        setting: Dotted names, those of `BETWEEN` may be missing.
        files: The layers, the most important one last.
        options: Of the form `--key=value`.
    """
    parts = [part for part in setting.split(".") if part and part not in BETWEEN]
    for option in reversed(options):
        names = [part for part in option[2:].partition("=")[0].rstrip("+").split(".") if part not in BETWEEN]
        if names and names == parts[: len(names)]:
            return f"on the command line: {option[:100]}"
    for file in reversed(files):
        if (line := _line(parts, file)) is not None:
            text = file.read_text(encoding="utf-8").splitlines()[line].strip()
            return f"{file}, line {line + 1}: {text[:100]}"
    return ""


def _line(parts: Sequence[str], file: Path) -> int | None:
    """The line of a setting, counted from 0; that of the list that it lies in, if it lies in one."""
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, OSError, ValueError, RecursionError):
        return None
    line: int | None = None
    for part in parts:
        if not isinstance(node, yaml.MappingNode):
            return line if isinstance(node, yaml.SequenceNode) else None
        found = _child(node, part)
        if found is None:
            return None
        line, node = found
    return line


def _child(node: yaml.MappingNode, name: str) -> tuple[int, yaml.Node] | None:
    inner: list[yaml.MappingNode] = []
    for key, value in node.value:
        if key.value == name:
            return key.start_mark.line, value
        if key.value in BETWEEN and isinstance(value, yaml.MappingNode):
            inner.append(value)
    return next((found for one in inner if (found := _child(one, name)) is not None), None)
