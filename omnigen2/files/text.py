"""Files that appear all at once or not at all: whoever reads sees the old or the new content, nothing between."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omnigen2.files.fields import read_object


@contextmanager
def written_beside(path: Path) -> Generator[Path]:
    """Write a file under another name, and rename it when it is whole.

    Yields:
        The draft, in the same folder, to be written. If that fails it is removed, and `path` is as it was.
    """
    draft = path.with_name(f".{path.name}.new")
    try:
        yield draft
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file."""
    with written_beside(path) as draft:
        draft.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a whole file in UTF-8."""
    with written_beside(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a whole file of JSON."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object that a JSON file holds, or None if there is no such file.

    Raises:
        UserError: If it holds something else; see `omnigen2.files.read_object`.
    """
    return dict(read_object(path).values) if path.is_file() else None
