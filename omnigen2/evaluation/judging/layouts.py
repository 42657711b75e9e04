"""Folders of benchmarks and of generated pictures, in the layouts in which they are published."""

from pathlib import Path
from typing import cast

from omnigen2.evaluation.judging.judge import Item
from omnigen2.evaluation.judging.tables import Row, file_name, json_object, picture, rows, text
from omnigen2.evaluation.metrics import EvaluationError


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

    Source: the columns and the folders of GEdit-Bench/generate_image_example.py in stepfun-ai/Step1X-Edit.
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

    Source: what evaluation/evaluate_images.py in djghosh13/geneval reads: folders and files named by digits.
    """
    items: list[Item] = []
    for metadata in sorted(images.glob("[0-9]*/metadata.jsonl")):
        content = metadata.read_text(encoding="utf-8").strip()
        found = json_object(content, str(metadata))
        tag, prompt = (text(found, name, str(metadata)) for name in ("tag", "prompt"))
        pictures = sorted((metadata.parent / "samples").glob("[0-9]*.png"))
        if not pictures:
            pictures = [metadata.parent / "samples" / "0000.png"]
        items += [Item(file.relative_to(images).as_posix(), tag, prompt, (), file, meta=content) for file in pictures]
    if not items:
        raise EvaluationError(f"{images} has no */metadata.jsonl", "expected GenEval's layout: 00000/metadata.jsonl, …")
    return items


def imgedit_items(images: Path, data: Path) -> list[Item]:
    """ImgEdit-Bench's basic part: `basic_edit.json` maps keys to `id` (the source picture), `prompt` and `edit_type`.

    Args:
        images: With the edited pictures as `{key}.png`.
        data: Folder with `basic_edit.json` and the source pictures, as they are (`animal/000342021.jpg`) or in a folder
            of any name.

    Returns:
        One item per key.

    Raises:
        EvaluationError: If the file, a field or a source picture is missing.

    Source: Benchmark/Basic in PKU-YuanGroup/ImgEdit: basic_bench.py, its readme and basic_edit.json. The file names one
        kind `alter` that the readme and the paper call `adjust`; it is read as `adjust`.
    """
    path = data / "basic_edit.json"
    if not path.is_file():
        raise EvaluationError(f"there is no file {path}", "--data names the folder with ImgEdit's basic_edit.json")
    items: list[Item] = []
    for key, row in json_object(path.read_text(encoding="utf-8"), str(path)).items():
        where = f"{path}, key {key}"
        if not isinstance(row, dict):
            raise EvaluationError(f"{where} is {row!r:.80}", "expected id, prompt and edit_type")
        source, prompt, kind = (text(cast(Row, row), name, where) for name in ("id", "prompt", "edit_type"))
        kind = "adjust" if kind == "alter" else kind
        folders = [data, *sorted(folder for folder in data.iterdir() if (folder / source).is_file())]
        given = picture(source, folders[-1], where)
        items.append(Item(key, kind, prompt, (given,), images / f"{file_name(key, where)}.png"))
    return unique(items, data)


def emu_edit_items(images: Path, data: Path) -> list[Item]:
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
    items: list[Item] = []
    for row, where in rows(data):
        names = ("idx", "task", "instruction", "output_caption")
        key, task, instruction, caption = (text(row, name, where) for name in names)
        given = picture(row.get("image"), data, where)
        items.append(Item(key, task, instruction, (given,), images / f"{file_name(key, where)}.png", meta=caption))
    if len({item.key for item in items}) < len(items):
        raise EvaluationError(f"{data} has an idx twice", f"name one split: --data {data / 'test'}")
    return unique(items, data)


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
