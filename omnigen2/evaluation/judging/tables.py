"""Rows of published data sets: one `.jsonl` file, or `.parquet` files as on the Hugging Face hub."""

import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

from omnigen2.evaluation.judging.judge import PictureFile
from omnigen2.evaluation.judging.results import read_json
from omnigen2.evaluation.metrics import EvaluationError

Row: TypeAlias = Mapping[str, Any]
"""One row: values by column."""


def rows(data: Path) -> Iterator[tuple[Row, str]]:
    """The rows of a data set.

    Args:
        data: A folder with one `.jsonl` file, or with `.parquet` files as on the Hugging Face hub: in the folder, or
            one folder further down (`data`, or MMMU's subjects). Where there are several splits
            (`validation-00000-of-00003.parquet`), the split's name behind the folder: `emu_edit_test_set/test`.

    Yields:
        A row, and what messages call it.

    Raises:
        EvaluationError: If there is no data set, or more than one.
    """
    folder, split = (data, None) if data.is_dir() else (data.parent, data.name)
    lines = sorted(folder.glob("*.jsonl")) if split is None else []
    tables = sorted(folder.glob("*.parquet")) or sorted(folder.glob("*/*.parquet"))
    splits = {table: _split(table) for table in tables}
    names = sorted({name for name in splits.values() if name is not None})
    if split is not None:
        tables = [table for table in tables if splits[table] == split]
    elif len(names) > 1:
        raise EvaluationError(f"{data} has the splits {', '.join(names)}", f"name one: --data {data / names[0]}")
    if len(lines) > 1 or (lines and tables) or not (lines or tables):
        found = ", ".join(file.name for file in (*lines, *tables)) or "neither"
        raise EvaluationError(f"{data} holds {found}", "expected one .jsonl file, or .parquet files")
    if tables:
        yield from _parquet(tables)
        return
    for number, line in enumerate(lines[0].read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            where = f"{lines[0]}, line {number}"
            yield json_object(line, where), where


def json_object(content: str, where: str) -> Row:
    """Parse a JSON object.

    Args:
        content: JSON.
        where: What messages call it.

    Returns:
        Its fields.

    Raises:
        EvaluationError: If it is something else.
    """
    row = read_json(content, where)
    if not isinstance(row, dict):
        raise EvaluationError(f"{where} is a JSON {type(row).__name__}", "expected an object")
    return cast(Row, row)


def root(data: Path) -> Path:
    """The folder that the paths of a data set's pictures are seen from.

    Args:
        data: The folder, or a split's name behind it.
    """
    return data if data.is_dir() else data.parent


def text(row: Row, name: str, where: str) -> str:
    """A text of a row.

    Args:
        row: With that column.
        name: Of the column.
        where: What messages call the row.

    Returns:
        Its value; whole numbers as text, as keys may be either.

    Raises:
        EvaluationError: If there is none.
    """
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise EvaluationError(f"{where}: {name} is {value!r}", f"expected a text; the row has {', '.join(row)}")
    return value


def file_name(key: str, where: str) -> str:
    """A key that is to name a file.

    Args:
        key: It.
        where: What messages call the row.

    Returns:
        The same.

    Raises:
        EvaluationError: If it would name something in another folder.
    """
    if Path(key).name != key or "\\" in key:
        raise EvaluationError(f"{where}: the key {key!r} is no file name", "expected no slashes and no dots alone")
    return key


def picture(file: object, data: Path, where: str) -> PictureFile:
    """A picture of a row: a path, or what Hugging Face stores (`{"bytes": …, "path": …}`).

    Args:
        file: The value.
        data: Folder that paths are relative to, or a split's name behind it.
        where: What messages call the row.

    Returns:
        The file or its contents.

    Raises:
        EvaluationError: If it is neither, or there is no such file.
    """
    match file:
        case {"bytes": bytes(found)}:
            return found
        case str(name) | {"path": str(name)} if (root(data) / name).is_file():
            return root(data) / name
        case _:
            raise EvaluationError(
                f"{where}: there is no picture {str(file)[:120]!r}", f"paths are seen from {root(data)}"
            )


def _split(table: Path) -> str | None:
    """`test` of `test-00000-of-00002.parquet`; None of other names."""
    found = re.fullmatch(r"(.+)-\d+-of-\d+(?:-[0-9a-f]+)?", table.stem)
    return found[1] if found else None


def _parquet(tables: list[Path]) -> Iterator[tuple[Row, str]]:
    if importlib.util.find_spec("pyarrow") is None:
        raise EvaluationError(f"{tables[0]} needs pyarrow to be read", "pip install pyarrow, or export it as jsonl")
    parquet = importlib.import_module("pyarrow.parquet")
    for table in tables:
        file = parquet.ParquetFile(table)
        number = 0
        for batch in file.iter_batches(batch_size=16):
            for row in batch.to_pylist():
                number += 1
                yield row, f"{table}, row {number}"
