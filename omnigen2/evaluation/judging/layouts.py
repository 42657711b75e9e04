"""Folders of benchmarks and of generated pictures, in the layouts in which they are published.

What is missing, comes twice or cannot be a file's name is an `EvaluationError` that names the file and the row.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from omnigen2.evaluation.judging.judge import BenchmarkItem
from omnigen2.evaluation.judging.tables import Row, json_object, rows
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import read_json_lines


def omnicontext_items(images: Path, data: Path, language: str = "en") -> list[BenchmarkItem]:
    """OmniContext: rows with `key`, `task_type`, `instruction`, `input_images` and perhaps `instruction_language`.

    Args:
        images: `results/{method}`, with pictures as `fullset/{task_type}/{key}.png`.
        language: Rows of other languages are left out, as in the official statistics.
    """
    folder = fullset(images)
    items: list[BenchmarkItem] = []
    for row in rows(data):
        if row.values.get("instruction_language", language) != language:
            continue
        key, (group, instruction) = row.file_name("key"), row.texts("task_type", "instruction")
        inputs = tuple(map(row.picture, row.values.get("input_images") or ()))
        items.append(BenchmarkItem(key, group, instruction, inputs, folder / group / f"{key}.png", language))
    return unique(items, data)


def gedit_items(images: Path, data: Path) -> list[BenchmarkItem]:
    """GEdit-Bench: rows with `key`, `task_type`, `instruction`, `instruction_language`, `input_image`.

    Args:
        images: `results/{method}`, with pictures as `fullset/{task_type}/{language}/{key}.png`.
        data: The published data set. `input_image_raw` is preferred to `input_image` where both are.

    Raises:
        EvaluationError: Also if a row has no picture.

    Source: the columns and the folders of GEdit-Bench/generate_image_example.py in stepfun-ai/Step1X-Edit.
    """
    folder = fullset(images)
    items: list[BenchmarkItem] = []
    for row in rows(data):
        group, instruction, language = row.texts("task_type", "instruction", "instruction_language")
        key, source = row.file_name("key"), row.values.get("input_image_raw") or row.values.get("input_image")
        if source is None:
            raise EvaluationError(f"{row.where} has no input_image", "is this the published GEdit-Bench?")
        output = folder / group / language / f"{key}.png"
        items.append(BenchmarkItem(key, group, instruction, (row.picture(source),), output, language))
    return unique(items, data)


def geneval_items(images: Path) -> list[BenchmarkItem]:
    """GenEval: `00000/metadata.jsonl` beside `00000/samples/0000.png`, and so on.

    Returns:
        One item per picture; its key is `00000/samples/0000.png`, its meta the metadata.

    Raises:
        EvaluationError: If there are none, or metadata is missing or has no tag and prompt.

    Source: what evaluation/evaluate_images.py in djghosh13/geneval reads: folders and files named by digits.
    """
    items: list[BenchmarkItem] = []
    for metadata in sorted(images.glob("[0-9]*/metadata.jsonl")):
        lines = read_json_lines(metadata, EvaluationError)
        if len(lines) != 1:
            raise EvaluationError(f"{metadata} has {len(lines)} lines", "expected one, the metadata of its folder")
        tag, prompt = Row(lines[0].value, str(metadata), images).texts("tag", "prompt")
        meta = lines[0].text.strip()
        pictures = sorted((metadata.parent / "samples").glob("[0-9]*.png"))
        if not pictures:
            pictures = [metadata.parent / "samples" / "0000.png"]
        items += [
            BenchmarkItem(file.relative_to(images).as_posix(), tag, prompt, (), file, meta=meta) for file in pictures
        ]
    if not items:
        raise EvaluationError(f"{images} has no */metadata.jsonl", "expected GenEval's layout: 00000/metadata.jsonl, …")
    return items


def imgedit_items(images: Path, data: Path) -> list[BenchmarkItem]:
    """ImgEdit-Bench's basic part: `basic_edit.json` maps keys to `id` (the source picture), `prompt` and `edit_type`.

    Args:
        images: With the edited pictures as `{key}.png`.
        data: Folder with `basic_edit.json` and the source pictures, as they are (`animal/000342021.jpg`) or in a folder
            of any name.

    Raises:
        EvaluationError: If the file, a field or a source picture is missing.

    Source: Benchmark/Basic in PKU-YuanGroup/ImgEdit: basic_bench.py, its readme and basic_edit.json. The file names one
        kind `alter` that the readme and the paper call `adjust`; it is read as `adjust`.
    """
    path = data / "basic_edit.json"
    if not path.is_file():
        raise EvaluationError(f"there is no file {path}", "--data names the folder with ImgEdit's basic_edit.json")
    items: list[BenchmarkItem] = []
    for key, values in json_object(path.read_text(encoding="utf-8"), str(path)).items():
        where = f"{path}, key {key}"
        if not isinstance(values, dict):
            raise EvaluationError(f"{where} is {values!r:.80}", "expected id, prompt and edit_type")
        row = Row({"key": key, **cast(dict[str, Any], values)}, where, data)
        source, prompt, kind = row.texts("id", "prompt", "edit_type")
        kind = "adjust" if kind == "alter" else kind
        folders = [data, *sorted(folder for folder in data.iterdir() if (folder / source).is_file())]
        given = replace(row, folder=folders[-1]).picture(source)
        items.append(BenchmarkItem(key, kind, prompt, (given,), images / f"{row.file_name('key')}.png"))
    return unique(items, data)


def emu_edit_items(images: Path, data: Path) -> list[BenchmarkItem]:
    """Emu Edit's test set: rows with `idx`, `task`, `instruction`, `image` and `output_caption`.

    Args:
        images: With the edited pictures as `{idx}.png`.
        data: The published data set with the name of a split behind it, such as `emu_edit_test_set/test`.

    Returns:
        One item per row; its meta is the caption of the wanted result.

    Raises:
        EvaluationError: If a column is missing, or an index repeats.

    Source: the dataset card of facebook/emu_edit_test_set for the columns. It says nothing about edited pictures; a
        file `{idx}.png` for each row of a split is what UltraEdit's evaluation reads.
    """
    items: list[BenchmarkItem] = []
    for row in rows(data):
        key, (task, instruction, caption) = row.file_name("idx"), row.texts("task", "instruction", "output_caption")
        given = row.picture(row.values.get("image"))
        items.append(BenchmarkItem(key, task, instruction, (given,), images / f"{key}.png", meta=caption))
    if len({item.key for item in items}) < len(items):
        raise EvaluationError(f"{data} has an idx twice", f"name one split: --data {data / 'test'}")
    return unique(items, data)


def fullset(images: Path) -> Path:
    """The folder `fullset` of a method's results.

    Args:
        images: It, the folder above it, or one further above that holds a single method.

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


def unique(items: list[BenchmarkItem], data: Path) -> list[BenchmarkItem]:
    """Check that no item comes twice.

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
