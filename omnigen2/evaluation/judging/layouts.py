"""Folders of benchmarks and of generated pictures, in the layouts in which they are published.

What is missing, comes twice or cannot be a file's name is an `EvaluationError` that names the file and the row.
"""

from dataclasses import replace
from pathlib import Path

from omnigen2.evaluation.judging.judge import BenchmarkItem
from omnigen2.evaluation.judging.tables import Row, rows
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import Keys, inside, read_json_lines, read_object

INTERSECTION = "intersection"
"""GEdit-Bench's subset of the instructions that all models of its paper have answered."""


def omnicontext_items(images: Path, data: Path, language: str = "en") -> list[BenchmarkItem]:
    """OmniContext: rows with `key`, `task_type`, `instruction`, `input_images` and perhaps `instruction_language`.

    Args:
        images: `results/{method}`, with pictures as `fullset/{task_type}/{key}.png`.
        language: Rows of other languages are left out, as in the official statistics.
    """
    folder = fullset(images)
    items: list[BenchmarkItem] = []
    for row in rows(data):
        if (row.maybe("instruction_language") or language) != language:
            continue
        key, group, instruction = row.file_name("key"), row.file_name("task_type"), row.text("instruction")
        inputs, output = row.pictures("input_images"), folder / group / f"{key}.png"
        items.append(BenchmarkItem(key, group, instruction, inputs, output, language, where=row.where))
    return unique(items, data)


def gedit_items(images: Path, data: Path) -> list[BenchmarkItem]:
    """GEdit-Bench: rows with `key`, `task_type`, `instruction`, `instruction_language`, `input_image`.

    Args:
        images: `results/{method}`, with pictures as `fullset/{task_type}/{language}/{key}.png`.
        data: The published data set. `input_image_raw` is preferred to `input_image` where both are.

    Returns:
        One item per row; where the rows say so (`Intersection_exist`), those of the intersection subset are marked.

    Raises:
        EvaluationError: Also if a row has no picture, or only some rows say whether they are of the intersection.

    Source: the columns and the folders of GEdit-Bench/generate_image_example.py in stepfun-ai/Step1X-Edit.
    """
    folder = fullset(images)
    items: list[BenchmarkItem] = []
    said: set[bool] = set()
    for row in rows(data):
        group, language, key = (row.file_name(name) for name in ("task_type", "instruction_language", "key"))
        instruction = row.text("instruction")
        source = row.values.get("input_image_raw") or row.values.get("input_image")
        if source is None:
            raise EvaluationError(f"{row.where} has no input_image", "is this the published GEdit-Bench?")
        output = folder / group / language / f"{key}.png"
        subset = row.flag("Intersection_exist")
        said.add(subset is not None)
        if len(said) > 1:
            raise EvaluationError(
                f"{row.where}: Intersection_exist is {subset}, unlike in the rows before",
                "either all rows say whether they are of the intersection, or none",
            )
        subsets = (INTERSECTION,) if subset else ()
        items.append(
            BenchmarkItem(
                key, group, instruction, (row.picture(source),), output, language, subsets=subsets, where=row.where
            )
        )
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
            BenchmarkItem(file.relative_to(images).as_posix(), tag, prompt, (), file, meta=meta, where=str(metadata))
            for file in pictures
        ]
    if not items:
        raise EvaluationError(f"{images} has no */metadata.jsonl", "expected GenEval's layout: 00000/metadata.jsonl, …")
    return items


def imgedit_items(images: Path, data: Path) -> list[BenchmarkItem]:
    """ImgEdit-Bench's basic part: `basic_edit.json` maps keys to `id` (the source picture), `prompt` and `edit_type`.

    Args:
        images: With the edited pictures as `{key}.png`.
        data: Folder with `basic_edit.json` (or that file) and the source pictures, as they are
            (`animal/000342021.jpg`) or in a folder of any name.

    Raises:
        EvaluationError: If the file, a field or a source picture is missing.

    Source: Benchmark/Basic in PKU-YuanGroup/ImgEdit: basic_bench.py, its readme and basic_edit.json. The file names one
        kind `alter` that the readme and the paper call `adjust`; it is read as `adjust`.
    """
    path = data if data.suffix == ".json" else data / "basic_edit.json"
    data = path.parent
    if not path.is_file():
        raise EvaluationError(f"there is no file {path}", "--data names the folder with ImgEdit's basic_edit.json")
    items: list[BenchmarkItem] = []
    listed = read_object(path, EvaluationError, "expected ImgEdit's basic_edit.json: id, prompt and edit_type by key")
    for key in listed.values:
        row = Row({**listed.object(key).values, "key": key}, f"{path}, key {key!r:.80}", data)
        source, prompt, kind = row.texts("id", "prompt", "edit_type")
        kind = "adjust" if kind == "alter" else kind
        inside(data, source, f"{row.where}: the picture", EvaluationError)
        folders = [data, *sorted(folder for folder in data.iterdir() if (folder / source).is_file())]
        given = replace(row, folder=folders[-1]).picture(source)
        output = images / f"{row.file_name('key')}.png"
        items.append(BenchmarkItem(key, kind, prompt, (given,), output, where=row.where))
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
        output = images / f"{key}.png"
        items.append(BenchmarkItem(key, task, instruction, (given,), output, meta=caption, where=row.where))
    return unique(items, data, f"keys must differ; name one split: --data {data / 'test'}")


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


def unique(
    items: list[BenchmarkItem], data: Path, remedy: str = "keys must differ within a subtask"
) -> list[BenchmarkItem]:
    """Check that no item comes twice, and no two items name one picture.

    Raises:
        EvaluationError: If there are none, or one comes twice.
    """
    names: Keys[None] = Keys("item", EvaluationError, remedy)
    outputs: Keys[None] = Keys("picture to judge", EvaluationError, remedy)
    for item in items:
        names.add("/".join(item.name), None, item.where or str(data))
        outputs.add(str(item.output), None, item.where or str(data))
    if not items:
        raise EvaluationError(f"{data} has no rows for this benchmark", "check --data")
    return items
