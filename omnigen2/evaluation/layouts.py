"""Folders of benchmarks and of generated pictures, in the layouts in which they are published.

A data set is a folder with one `.jsonl` file (pictures as paths relative to it) or with `.parquet` files as on the
Hugging Face hub (in the folder, or in its `data`; reading them needs pyarrow).
"""

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from omnigen2.evaluation.errors import EvaluationError
from omnigen2.evaluation.judge import Item, PictureFile
from omnigen2.evaluation.results import read_json

Row = Mapping[str, Any]


def omnicontext_items(images: Path, data: Path, language: str = "en") -> list[Item]:
    """OmniContext: rows with `key`, `task_type`, `instruction`, `input_images` and perhaps `instruction_language`.

    Args:
        images: `results/{method}`, with pictures as `fullset/{task_type}/{key}.png`.
        data: The published data set.
        language: Rows of other languages are left out, as in the official statistics.

    Returns:
        One item per row.

    Raises:
        EvaluationError: If a folder or a column is missing, or a key repeats.
    """
    folder = fullset(images)
    items: list[Item] = []
    for row, where in rows(data):
        if row.get("instruction_language", language) != language:
            continue
        key, group, instruction = (text(row, name, where) for name in ("key", "task_type", "instruction"))
        inputs = tuple(picture(file, data, where) for file in row.get("input_images") or ())
        items.append(Item(file_name(key, where), group, instruction, inputs, folder / group / f"{key}.png", language))
    return unique(items, data)


def gedit_items(images: Path, data: Path) -> list[Item]:
    """GEdit-Bench: rows with `key`, `task_type`, `instruction`, `instruction_language`, `input_image`.

    Args:
        images: `results/{method}`, with pictures as `fullset/{task_type}/{language}/{key}.png`.
        data: The published data set. `input_image_raw` is preferred to `input_image` where both are.

    Returns:
        One item per row.

    Raises:
        EvaluationError: If a folder or a column is missing, or a key repeats.
    """
    folder = fullset(images)
    items: list[Item] = []
    for row, where in rows(data):
        names = ("key", "task_type", "instruction", "instruction_language")
        key, group, instruction, language = (text(row, name, where) for name in names)
        source = row.get("input_image_raw") or row.get("input_image")
        if source is None:
            raise EvaluationError(f"{where} has no input_image", "is this the published GEdit-Bench?")
        output = folder / group / language / f"{file_name(key, where)}.png"
        items.append(Item(key, group, instruction, (picture(source, data, where),), output, language))
    return unique(items, data)


def geneval_items(images: Path) -> list[Item]:
    """GenEval: `00000/metadata.jsonl` beside `00000/samples/0000.png`, and so on.

    Args:
        images: The folder with the numbered folders.

    Returns:
        One item per picture; its key is `00000/samples/0000.png`, its meta the metadata.

    Raises:
        EvaluationError: If there are none, or metadata is missing or has no tag and prompt.
    """
    items: list[Item] = []
    for metadata in sorted(images.glob("*/metadata.jsonl")):
        content = metadata.read_text(encoding="utf-8").strip()
        row = read_json(content, str(metadata))
        if not isinstance(row, dict):
            raise EvaluationError(f"{metadata} is no JSON object", "expected one line of GenEval's metadata")
        found = cast(Row, row)
        tag, prompt = (text(found, name, str(metadata)) for name in ("tag", "prompt"))
        pictures = sorted((metadata.parent / "samples").glob("*.png"))
        if not pictures:
            pictures = [metadata.parent / "samples" / "0000.png"]
        items += [Item(file.relative_to(images).as_posix(), tag, prompt, (), file, meta=content) for file in pictures]
    if not items:
        raise EvaluationError(f"{images} has no */metadata.jsonl", "expected GenEval's layout: 00000/metadata.jsonl, …")
    return items


def rows(data: Path) -> Iterator[tuple[Row, str]]:
    """The rows of a data set.

    Args:
        data: Its folder.

    Yields:
        A row, and what messages call it.

    Raises:
        EvaluationError: If there is no data set, or more than one.
    """
    lines = sorted(data.glob("*.jsonl"))
    tables = sorted(data.glob("*.parquet")) or sorted((data / "data").glob("*.parquet"))
    if len(lines) > 1 or (lines and tables) or not (lines or tables):
        found = ", ".join(file.name for file in (*lines, *tables)) or "neither"
        raise EvaluationError(f"{data} holds {found}", "expected one .jsonl file, or .parquet files")
    if tables:
        yield from _parquet(tables)
        return
    for number, line in enumerate(lines[0].read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            where = f"{lines[0]}, line {number}"
            row = read_json(line, where)
            if not isinstance(row, dict):
                raise EvaluationError(f"{where} is a JSON {type(row).__name__}", "expected an object")
            yield cast(Row, row), where


def fullset(images: Path) -> Path:
    """The folder `fullset` of a method's results.

    Args:
        images: It, the folder above it, or one further above that holds a single method.

    Returns:
        The folder.

    Raises:
        EvaluationError: If it is not there, or there are several.
    """
    if not images.is_dir():
        raise EvaluationError(f"there is no folder {images}", "check --images")
    if images.name == "fullset":
        return images
    if (images / "fullset").is_dir():
        return images / "fullset"
    below = sorted(images.glob("*/fullset"))
    if len(below) != 1:
        names = ", ".join(folder.parent.name for folder in below) or "none"
        raise EvaluationError(
            f"{images} has no folder fullset, and of methods with one: {names}",
            "name one method's folder, whose pictures are fullset/{task_type}/{key}.png",
        )
    return below[0]


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
        data: Folder that paths are relative to.
        where: What messages call the row.

    Returns:
        The file or its contents.

    Raises:
        EvaluationError: If it is neither, or there is no such file.
    """
    match file:
        case {"bytes": bytes(found)}:
            return found
        case str(name) | {"path": str(name)} if (data / name).is_file():
            return data / name
        case _:
            raise EvaluationError(f"{where}: there is no picture {str(file)[:120]!r}", f"paths are seen from {data}")


def unique(items: list[Item], data: Path) -> list[Item]:
    """Check that no item comes twice.

    Args:
        items: Of a data set.
        data: Its folder.

    Returns:
        The same.

    Raises:
        EvaluationError: If there are none, or one comes twice.
    """
    seen: set[tuple[str, str, str]] = set()
    for item in items:
        if item.name in seen:
            raise EvaluationError(
                f"{data} has the item {'/'.join(item.name)} twice", "keys must differ within a subtask"
            )
        seen.add(item.name)
    if not items:
        raise EvaluationError(f"{data} has no rows for this benchmark", "check --data")
    return items


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
