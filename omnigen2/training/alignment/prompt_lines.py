"""Lines of files of prompts: GenEval's metadata, and the official layout with that of EditScore's RL data."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from omnigen2.data import TASK_NAMES, DataError
from omnigen2.data.samples import Task
from omnigen2.files import Fields, JsonLine, read_json_lines
from omnigen2.generate import MOST_SIDE

FIELDS = ("task_type", "instruction", "input_images", "output_image", "target_img_size", "meta", "meta_data")
GENEVAL = ("tag", "include", "prompt")
UNUSED = (
    "output_image", "instruction_long", "instruction_short", "instruction_zh", "instruction_short_zh",
    "instruction_tag", "caption_qwenvl2_5", "caption_qwenvl2_5_zh",
)  # fmt: skip
"""Fields of official data that nothing is drawn from."""
REMEDY = "mend or remove the line"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a line asks for; its pictures are there, and were not opened.

    Attributes:
        file: Where it stands.
        line: Counted from 1.
        task: Of drawing.
        references: Paths.
        size: (height, width) in pixels of the picture to be drawn, where the line says it.
        meta: Text that travels with the prompt.
    """

    file: Path
    line: int
    task: Task
    instruction: str
    references: tuple[Path, ...]
    size: tuple[int, int] | None
    meta: str

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"{self.file}, line {self.line}"


def read_prompts(files: Sequence[str], image_root: Path | None) -> list[Prompt]:
    """All prompts of some files, every line checked and every picture looked for.

    Args:
        image_root: What relative image paths start from; each file's folder if None.

    Raises:
        DataError: If a file is missing or has no prompts, or a line is wrong.
    """
    found: list[Prompt] = []
    for file in map(Path, files):
        lines = read_json_lines(file, DataError)
        if not lines:
            raise DataError(f"{file} has no prompts", "fill or remove it")
        found += [_prompt(line, file.parent if image_root is None else image_root) for line in lines]
        if unused := sorted({name for line in lines for name in line.value if not _is_known(line, name)}):
            rank_zero_warn(f"{file}: nothing is done with the fields {', '.join(unused)}")
    return found


def most_references(prompts: Sequence[Prompt]) -> tuple[int, str]:
    """The largest number of references of a prompt, and which one it is."""
    largest = max(prompts, key=lambda prompt: len(prompt.references))
    return len(largest.references), largest.where


def _is_known(line: JsonLine, name: str) -> bool:
    return _is_geneval(line) or name in FIELDS or name in UNUSED


def _is_geneval(line: JsonLine) -> bool:
    return set(GENEVAL) <= set(line.value)


def _prompt(line: JsonLine, root: Path) -> Prompt:
    """Read one line.

    Raises:
        DataError: If it is neither of GenEval's nor of the official layout, or a picture is missing.
    """
    fields = Fields(line.value, line.where, DataError, REMEDY)
    if _is_geneval(line):
        return Prompt(line.path, line.number, "text_to_image", fields.text("prompt"), (), None, line.text)
    for name in line.value:
        if name not in (*FIELDS, *UNUSED) and (near := get_close_matches(name, FIELDS, n=1, cutoff=0.8)):
            raise DataError(f"{line.where} has the field {name!r}; did you mean {near[0]}?", REMEDY)
    if not isinstance(line.value.get("instruction"), str):
        raise DataError(
            f"{line.where} has the fields {', '.join(line.value) or '(none)'}; expected GenEval's "
            f"{', '.join(GENEVAL)}, or the official {', '.join(FIELDS)} with a task of drawing",
            REMEDY,
        )
    names = fields.texts("input_images") if fields.has("input_images") else ()
    task = _task(line, len(names))
    references = tuple(_existing(root, name, line.where) for name in names)
    size = _size(fields) if fields.has("target_img_size") else None
    return Prompt(line.path, line.number, task, fields.text("instruction"), references, size, _meta(fields, line.where))


def _task(line: JsonLine, references: int) -> Task:
    """The task of a line: whether there is something to edit decides where its name is none of ours.

    Raises:
        DataError: If it is no task of drawing, or does not fit the number of references.
    """
    name = line.value.get("task_type") or ""
    task = TASK_NAMES.get(str(name).lower()) or ("edit" if references or name else "text_to_image")
    if task not in ("text_to_image", "edit", "in_context"):
        raise DataError(f"{line.where} has task_type {name!r}, expected a task of drawing", REMEDY)
    if bool(references) == (task == "text_to_image"):
        called = f"{task} ({name})" if name and name != task else task
        raise DataError(
            f"{line.where} is {called} with {references} input images",
            "give an edit its picture, and no other task one",
        )
    return task


def _existing(root: Path, name: str, where: str) -> Path:
    path, words = root / name, f"{where} names the image {name[:200]!r}"
    try:
        if path.is_file():
            return path
        problem = f"which does not exist in {root}" if not path.is_dir() else "which is a folder"
    except (OSError, ValueError) as error:  # too long, or with a NUL
        problem = f"where nothing can be looked for ({getattr(error, 'strerror', None) or error})"
    raise DataError(
        f"{words}, {problem}", "give its path as from the folder of the file, or from data.init_args.image_root"
    )


def _size(fields: Fields) -> tuple[int, int]:
    value: Any = fields.values["target_img_size"]
    sides: list[Any] = value if isinstance(value, list) else []
    if len(sides) != 2 or not all(type(side) is int and 0 < side <= MOST_SIDE for side in sides):
        raise DataError(
            f"{fields.where} has target_img_size {value!r:.100}, expected [width, height] in pixels", REMEDY
        )
    width, height = sides
    return height, width


def _meta(fields: Fields, where: str) -> str:
    if fields.has("meta") and fields.has("meta_data"):
        raise DataError(f"{where} has both meta and meta_data", "keep one of them")
    if fields.has("meta_data") and not isinstance(fields.values["meta_data"], str):
        return json.dumps(fields.values["meta_data"], ensure_ascii=False)
    name = "meta_data" if fields.has("meta_data") else "meta"
    if not fields.has(name):
        return ""
    if not isinstance(fields.values[name], str):
        raise DataError(f"{where} has meta {fields.values[name]!r:.100}, expected text", "write JSON as a string")
    return fields.text(name)
