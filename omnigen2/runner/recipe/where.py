"""Where a setting of a recipe stands: on the command line, or in a file, and on which line."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

BETWEEN = ("class_path", "init_args", "")
"""What stands between the names of a setting in a recipe, and not in a message."""
ANY = object()
"""Stands for a value that does not matter."""


def place_of(setting: str, files: Sequence[Path], options: Sequence[str], value: Any = ANY) -> str:
    """Where a setting has got a value, or nothing if it is not found.

    Args:
        setting: Dotted names, those of `BETWEEN` may be missing.
        files: The layers, the most important one last; a setting may stand anywhere in them, as overrides do.
        options: Of the form `--key=value`.
        value: Of the setting, if it has one that tells it from others of the same name.
    """
    parts = _names(setting)
    for option in reversed(options):
        names = _names(option[2:].partition("=")[0].rstrip("+"))
        if names and names == parts[: len(names)]:
            return f"on the command line: {option[:100]}"
    found = [(file, line, node) for file in reversed(files) for line, node in _lines(file, parts)]
    same = found if value is ANY else [one for one in found if _may_be(one[2], value)]
    for file, line, _ in same or (found if len(found) == 1 else ()):
        text = file.read_text(encoding="utf-8").splitlines()[line].strip()
        return f"{file}, line {line + 1}: {text[:100]}"
    return ""


def _names(dotted: str) -> list[str]:
    return [part for part in re.sub(r"\[\d+\]", "", dotted).split(".") if part not in BETWEEN]


def _lines(file: Path, parts: Sequence[str]) -> list[tuple[int, yaml.Node]]:
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, OSError, ValueError, RecursionError):
        return []
    nodes = _nodes(root, []) if root is not None else ()
    found = [(len(names), line, node) for names, line, node in nodes if names[-len(parts) :] == list(parts)]
    return [(line, node) for _, line, node in sorted(found, key=lambda one: one[0])]


def _nodes(node: yaml.Node, names: list[str]) -> Iterator[tuple[list[str], int, yaml.Node]]:
    """Every setting below a node: its names, its line counted from 0, and its value."""
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            yield from _nodes(one, names)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = [*names, *_names(str(key.value))]
            if len(inner) > len(names):
                yield inner, key.start_mark.line, value
            yield from _nodes(value, inner)


def _may_be(node: yaml.Node, value: Any) -> bool:
    scalar = isinstance(node, yaml.ScalarNode)
    if isinstance(value, list | dict) or not scalar:
        return not scalar and isinstance(value, list | dict)
    return node.value == str(value) or node.value == repr(value).lower()
