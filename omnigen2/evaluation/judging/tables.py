"""Rows of published data sets: one `.jsonl` file, or `.parquet` files as on the Hugging Face hub."""

import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omnigen2.evaluation.judging.judge import PictureFile
from omnigen2.evaluation.judging.results import read_json
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import read_json_lines


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data set: values by column, what messages call it, and where the paths of its pictures start."""

    values: Mapping[str, Any]
    where: str
    folder: Path

    def text(self, name: str) -> str:
        """A text of the row; whole numbers as text, as keys may be either.

        Raises:
            EvaluationError: If there is none.
        """
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value:
            had = f"expected a text; the row has {', '.join(self.values)}"
            raise EvaluationError(f"{self.where}: {name} is {value!r}", had)
        return value

    def texts(self, *names: str) -> list[str]:
        """Several of them."""
        return [self.text(name) for name in names]

    def file_name(self, name: str) -> str:
        """A text that is to name a file.

        Raises:
            EvaluationError: If it would name something in another folder.
        """
        key = self.text(name)
        if Path(key).name != key or "\\" in key:
            raise EvaluationError(
                f"{self.where}: the key {key!r} is no file name", "expected no slashes and no dots alone"
            )
        return key

    def picture(self, file: object) -> PictureFile:
        """A picture that the row names by a path, or as Hugging Face stores it (`{"bytes": …, "path": …}`).

        Raises:
            EvaluationError: If it is neither, or there is no such file.
        """
        match file:
            case {"bytes": bytes(found)}:
                return found
            case str(name) | {"path": str(name)} if (self.folder / name).is_file():
                return self.folder / name
            case _:
                message = f"{self.where}: there is no picture {str(file)[:120]!r}"
                raise EvaluationError(message, f"paths are seen from {self.folder}")


def rows(data: Path) -> Iterator[Row]:
    """The rows of a data set.

    Args:
        data: A folder with one `.jsonl` file, or with `.parquet` files as on the Hugging Face hub: in the folder, or
            one folder further down (`data`, or MMMU's subjects). Where there are several splits
            (`validation-00000-of-00003.parquet`), the split's name behind the folder: `emu_edit_test_set/test`.

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
        yield from (Row(values, where, folder) for values, where in _parquet(tables))
    else:
        yield from (Row(line.value, line.where, folder) for line in read_json_lines(lines[0], EvaluationError))


def json_object(content: str, where: str) -> Mapping[str, Any]:
    """Parse a JSON object.

    Raises:
        EvaluationError: If it is something else.
    """
    found = read_json(content, where)
    if not isinstance(found, dict):
        raise EvaluationError(f"{where} is a JSON {type(found).__name__}", "expected an object")
    return cast(Mapping[str, Any], found)


def _split(table: Path) -> str | None:
    """`test` of `test-00000-of-00002.parquet`; None of other names."""
    found = re.fullmatch(r"(.+)-\d+-of-\d+(?:-[0-9a-f]+)?", table.stem)
    return found[1] if found else None


def _parquet(tables: list[Path]) -> Iterator[tuple[Mapping[str, Any], str]]:
    if importlib.util.find_spec("pyarrow") is None:
        raise EvaluationError(f"{tables[0]} needs pyarrow to be read", "pip install pyarrow, or export it as jsonl")
    parquet = importlib.import_module("pyarrow.parquet")
    for table in tables:
        batches = parquet.ParquetFile(table).iter_batches(batch_size=16)
        values = (row for batch in batches for row in batch.to_pylist())
        yield from ((row, f"{table}, row {number}") for number, row in enumerate(values, start=1))
