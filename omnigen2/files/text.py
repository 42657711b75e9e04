"""Text and JSON files that appear all at once or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader (or a crash) sees the old or the new content, nothing between.

    Args:
        path: The file.
        text: Its whole content.
    """
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file all at once.

    Args:
        path: The file.
        data: What `json` can write.
    """
    write_text(path, json.dumps(data, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON file.

    Args:
        path: The file.

    Returns:
        Its content, or None if there is no such file.
    """
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
