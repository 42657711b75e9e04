"""Rows of published data sets: one `.jsonl` file, or `.parquet` files as on the Hugging Face hub."""

import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnigen2.evaluation.judging.judge import PictureFile
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import Fields, inside, plain_name, read_json_lines

PARTS = re.compile(r"(.+)-\d+-of-(\d+)(?:-[0-9a-f]+)?")
"""Names of the files of a split on the Hugging Face hub."""


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
        had = f"expected a text; the row has {', '.join(map(str, self.values))}"
        if not isinstance(value, str) or not value:
            raise EvaluationError(f"{self.where}: {name} is {value!r:.80}", had)
        return Fields(self.values, self.where, EvaluationError, had).text(name)

    def maybe(self, name: str) -> str | None:
        """A text of the row, or None if there is no such column or it is empty."""
        return None if self.values.get(name) is None else self.text(name)

    def flag(self, name: str) -> bool | None:
        """True or false, or None if there is no such column or it is empty."""
        if self.values.get(name) is None:
            return None
        return Fields(self.values, self.where, EvaluationError, "is this the published data set?").flag(name)

    def texts(self, *names: str) -> list[str]:
        """Several of them."""
        return [self.text(name) for name in names]

    def file_name(self, name: str) -> str:
        """A text that is to name a file or a folder.

        Raises:
            EvaluationError: If it would name something in another folder.
        """
        return plain_name(self.text(name), f"{self.where}: the {name}", EvaluationError)

    def picture(self, file: object) -> PictureFile:
        """A picture that the row names by a path, or as Hugging Face stores it (`{"bytes": …, "path": …}`).

        Raises:
            EvaluationError: If it is neither, or there is no such file.
        """
        match file:
            case {"bytes": bytes(found)}:
                return found
            case str(name) | {"path": str(name)}:
                path = inside(self.folder, name, f"{self.where}: the picture", EvaluationError)
                if path.is_file():
                    return path
            case _:
                pass
        message = f"{self.where}: there is no picture {str(file)[:120]!r}"
        raise EvaluationError(message, f"paths are seen from {self.folder}")

    def pictures(self, name: str) -> tuple[PictureFile, ...]:
        """A list of at least one picture.

        Raises:
            EvaluationError: If it is something else.
        """
        files = self.values.get(name)
        if not isinstance(files, list) or not files:
            raise EvaluationError(f"{self.where}: {name} is {files!r:.80}", "expected a list of pictures")
        return tuple(map(self.picture, files))


def rows(data: Path) -> Iterator[Row]:
    """The rows of a data set.

    Args:
        data: A folder with one `.jsonl` file, or with `.parquet` files as on the Hugging Face hub: in the folder, or
            one or two folders further down (`data`, MMMU's subjects, `default/train`). Where there are several splits
            (`validation-00000-of-00003.parquet`, `validation/0000.parquet`), the split's name behind the folder:
            `emu_edit_test_set/test`. Or one such file.

    Raises:
        EvaluationError: If there is no data set, or more than one.
    """
    folder, lines, tables = data, [], []
    if data.is_file():
        folder, lines = data.parent, [data] if data.suffix == ".jsonl" else []
        tables = [] if lines else [data]
    elif data.is_dir():
        lines, tables = sorted(data.glob("*.jsonl")), _tables(data)
        splits = sorted({split for table in tables if (split := _split(table)) is not None})
        if len(splits) > 1:
            raise EvaluationError(f"{data} has the splits {', '.join(splits)}", f"name one: --data {data / splits[0]}")
    else:
        folder, tables = data.parent, _tables(data.parent, data.name)
        if not tables:
            raise EvaluationError(f"there is no folder {data}, nor a split {data.name} in {folder}", "check --data")
    if len(lines) > 1 or (lines and tables) or not (lines or tables):
        found = ", ".join(file.name for file in (*lines, *tables)) or "neither"
        raise EvaluationError(f"{data} holds {found}", "expected one .jsonl file, or .parquet files")
    if tables:
        yield from (Row(values, where, folder) for values, where in _parquet(tables))
    else:
        yield from (Row(line.value, line.where, folder) for line in read_json_lines(lines[0], EvaluationError))


def _tables(folder: Path, split: str | None = None) -> list[Path]:
    """The tables (of a split) in a folder, or else one or two folders further down.

    Raises:
        EvaluationError: If a split has not as many as their names say.
    """
    tables = next(filter(None, (sorted(folder.glob(f"{way}*.parquet")) for way in ("", "*/", "*/*/"))), [])
    tables = [table for table in tables if split in (None, _split(table))]
    for table in tables:
        of = PARTS.fullmatch(table.stem)
        if of and (count := len(list(table.parent.glob(f"{of[1]}-*-of-{of[2]}*.parquet")))) != int(of[2]):
            raise EvaluationError(
                f"{table.parent} has {count} of the {int(of[2])} files of {of[1]}", "download the others"
            )
    return tables


def _split(table: Path) -> str | None:
    """`test` of `test-00000-of-00002.parquet` and of `test/0000.parquet`; None of other names."""
    found = PARTS.fullmatch(table.stem)
    return found[1] if found else table.parent.name if table.stem.isdigit() else None


def _parquet(tables: list[Path]) -> Iterator[tuple[Mapping[str, Any], str]]:
    if importlib.util.find_spec("pyarrow") is None:
        raise EvaluationError(f"{tables[0]} needs pyarrow to be read", "pip install pyarrow, or export it as jsonl")
    parquet, broken = importlib.import_module("pyarrow.parquet"), importlib.import_module("pyarrow").ArrowException
    for table in tables:
        try:
            batches = parquet.ParquetFile(table).iter_batches(batch_size=16)
            values = (row for batch in batches for row in batch.to_pylist())
            yield from ((row, f"{table}, row {number}") for number, row in enumerate(values, start=1))
        except broken as error:
            said = " ".join(str(error).split())
            with table.open("rb") as file:
                pointer = file.read(11) == b"version htt"
            remedy = "it is a pointer of Git LFS: fetch the file by `git lfs pull`" if pointer else "copy the file anew"
            raise EvaluationError(f"{table} cannot be read ({said[:200]})", remedy) from error
