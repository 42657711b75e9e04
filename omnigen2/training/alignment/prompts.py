"""Prompts to draw pictures for, from files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import lightning as L
import torch
from typing_extensions import override

from omnigen2.data import TASK_NAMES, Batch, DataError, Example, TokenBudget
from omnigen2.data.samples import Task
from omnigen2.files import JsonLine, read_json_lines
from omnigen2.pictures import ImageReader, ResizePolicy, to_pixels
from omnigen2.training.parts import StepLoader

FIELDS = ("task_type", "instruction", "input_images", "output_image", "meta")


@runtime_checkable
class HasPrompts(Protocol):
    """Data of prompts, each a function of its number alone."""

    prompts: int
    """How many there are."""

    def prompt(self, number: int) -> Example:
        """One prompt. Its target is a picture of the size to be drawn, which nobody looks at."""
        ...


class JsonlPrompts(L.LightningDataModule):
    """Prompts from files of one JSON object per line, read when they are first asked for.

    A line is either one of GenEval's metadata (`{"tag": …, "include": […], "prompt": …}`), which then travels with the
    prompt for `GenEvalReward`; or one of the official layout of training data, of which `task_type`, `instruction`,
    `input_images` and `meta` are used. An edit is drawn in the size of its only reference, everything else in `size`.

    Args:
        files: Of the prompts.
        steps: Iterations of one epoch: at least as many as the training has.
        size: (height, width) in pixels of what has no single reference.
        resize: Sizes of references, and the side of one token.
        validation_files: Of prompts that are drawn for sheets and validation, and never trained on.
        image_root: What relative image paths start from; each file's folder if None.

    Raises:
        DataError: If a file is missing or has no prompts, or a line is something else.
    """

    def __init__(
        self,
        files: Sequence[str],
        steps: int,
        size: tuple[int, int] = (512, 512),
        resize: ResizePolicy | None = None,
        validation_files: Sequence[str] = (),
        image_root: str | None = None,
    ) -> None:
        super().__init__()
        self.files = tuple(files)
        self.steps = steps
        self.size = size
        self.budget = TokenBudget(2**31, ResizePolicy() if resize is None else resize)
        self.validation_files = tuple(validation_files)
        self.image_root = None if image_root is None else Path(image_root)
        self.reader = ImageReader()
        self._lines: list[JsonLine] = []

    @property
    def prompts(self) -> int:
        """How many there are."""
        return len(self._read())

    def prompt(self, number: int) -> Example:
        """One prompt, its references decoded and resized, with an empty target of its size."""
        return self._example(self._read()[number])

    @override
    def train_dataloader(self) -> StepLoader[int]:
        return StepLoader(lambda step: step, self.steps)

    @override
    def val_dataloader(self) -> StepLoader[Batch] | list[Any]:
        if not self.validation_files:
            return []
        return StepLoader(lambda _: self.validation_batch(), steps=1)

    def validation_batch(self) -> Batch:
        """All validation prompts."""
        return Batch(tuple(self._example(line) for line in _lines_of(self.validation_files)), self.budget)

    def _read(self) -> list[JsonLine]:
        self._lines = self._lines or _lines_of(self.files)
        return self._lines

    def _example(self, line: JsonLine) -> Example:
        key = f"{line.path.name}:{line.number}"
        task, instruction, paths, meta = _parsed(line, key)
        root = line.path.parent if self.image_root is None else self.image_root
        policy = self.budget.resize
        references = tuple(map(to_pixels, policy.resize_references([self.reader.read(root / path) for path in paths])))
        one = task == "edit" and len(references) == 1
        height, width = references[0].shape[1:] if one else policy.size(*self.size)
        return Example(
            task=task,
            source=line.path.stem,
            key=key,
            instruction=instruction,
            prompt_dropped=False,
            references=references,
            target=torch.zeros(3, height, width),
            answer=None,
            meta=meta,
        )


def _lines_of(files: Sequence[str]) -> list[JsonLine]:
    """The lines of all files.

    Raises:
        DataError: If there is nothing in one.
    """
    found: list[JsonLine] = []
    for file in files:
        lines = read_json_lines(Path(file), DataError)
        if not lines:
            raise DataError(f"{file} has no prompts", "fill or remove it")
        found += lines
    return found


def _parsed(line: JsonLine, key: str) -> tuple[Task, str, list[str], str]:
    """Task, instruction, paths of references, and what travels along.

    Raises:
        DataError: If a line is neither of GenEval's nor of the official layout.
    """
    fields = line.value
    if {"tag", "prompt", "include"} <= set(fields) and isinstance(fields["prompt"], str):
        return "text_to_image", fields["prompt"], [], line.text
    task = TASK_NAMES.get(str(fields.get("task_type")).lower())
    paths, meta = fields.get("input_images") or [], fields.get("meta")
    named = isinstance(paths, list) and all(isinstance(path, str) for path in cast(list[Any], paths))
    sound = task in ("text_to_image", "edit", "in_context") and named and not set(fields) - set(FIELDS)
    if task is None or not sound or not isinstance(fields.get("instruction"), str):
        raise DataError(
            f"{key} has the fields {', '.join(fields) or '(none)'}; expected GenEval's tag, prompt and include, or the "
            f"official {', '.join(FIELDS)} with a task of drawing",
            "mend or remove the line",
        )
    if not isinstance(meta, str | None):
        raise DataError(f"{key} has meta {meta!r:.100}, expected text", "write JSON as a string")
    if bool(paths) == (task == "text_to_image"):
        raise DataError(
            f"{key} is {task} with {len(paths)} input images", "give an edit its picture, and no other task one"
        )
    return task, fields["instruction"], paths, meta or ""
