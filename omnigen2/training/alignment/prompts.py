"""Prompts to draw pictures for, from files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import lightning as L
import torch

from omnigen2.data import TASK_NAMES, Batch, DataError, Example, TokenBudget
from omnigen2.data.samples import Task
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
    """Prompts from files of one JSON object per line.

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
        self._lines: list[tuple[Path, int, str]] = []

    @property
    def prompts(self) -> int:
        """How many there are. The files are read when it is first asked for."""
        return len(self._read())

    def prompt(self, number: int) -> Example:
        """One prompt, its references decoded and resized.

        Args:
            number: Of the prompt.

        Returns:
            An example with an empty target of its size.
        """
        return self._example(*self._read()[number])

    def train_dataloader(self) -> StepLoader[int]:
        """Numbers of iterations."""
        return StepLoader(lambda step: step, self.steps)

    def val_dataloader(self) -> StepLoader[Batch] | list[Any]:
        """One batch of all validation prompts; nothing if there are none."""
        if not self.validation_files:
            return []
        return StepLoader(lambda _: self.validation_batch(), steps=1)

    def validation_batch(self) -> Batch:
        """All validation prompts."""
        lines = [line for file in self.validation_files for line in _lines_of(Path(file))]
        return Batch(tuple(self._example(*line) for line in lines), self.budget)

    def _read(self) -> list[tuple[Path, int, str]]:
        if not self._lines:
            self._lines = [line for file in self.files for line in _lines_of(Path(file))]
        return self._lines

    def _example(self, file: Path, number: int, line: str) -> Example:
        key = f"{file.name}:{number}"
        task, instruction, paths, meta = _parsed(line, key)
        root = file.parent if self.image_root is None else self.image_root
        policy = self.budget.resize
        references = tuple(map(to_pixels, policy.resize_references([self.reader.read(root / path) for path in paths])))
        one = task == "edit" and len(references) == 1
        height, width = references[0].shape[1:] if one else policy.size(*self.size)
        return Example(
            task=task,
            source=file.stem,
            key=key,
            instruction=instruction,
            prompt_dropped=False,
            references=references,
            target=torch.zeros(3, height, width),
            answer=None,
            meta=meta,
        )


def _lines_of(file: Path) -> list[tuple[Path, int, str]]:
    """The lines of a file with their numbers.

    Raises:
        DataError: If there is no such file, nothing in it, or something else than text.
    """
    if not file.is_file():
        raise DataError(f"there is no file of prompts {file}; check the path")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is no UTF-8 ({error.reason} at byte {error.start}); convert it") from error
    # not splitlines: instructions may have separators that are no line ends in a file of JSON lines
    lines = [(file, number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise DataError(f"{file} has no prompts; fill or remove it")
    return lines


def _parsed(line: str, key: str) -> tuple[Task, str, list[str], str]:
    """Task, instruction, paths of references, and what travels along.

    Raises:
        DataError: If a line is neither of GenEval's nor of the official layout.
    """
    try:
        found: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{key} is no JSON ({error.msg} at character {error.pos + 1}); mend or remove it") from error
    fields = cast(dict[str, Any], found) if isinstance(found, dict) else {}
    if {"tag", "prompt", "include"} <= set(fields) and isinstance(fields["prompt"], str):
        return "text_to_image", fields["prompt"], [], line
    task = TASK_NAMES.get(str(fields.get("task_type")).lower())
    paths, meta = fields.get("input_images") or [], fields.get("meta")
    named = isinstance(paths, list) and all(isinstance(path, str) for path in cast(list[Any], paths))
    sound = task in ("text_to_image", "edit", "in_context") and named and not set(fields) - set(FIELDS)
    if task is None or not sound or not isinstance(fields.get("instruction"), str):
        raise DataError(
            f"{key} has the fields {', '.join(fields) or '(none)'}; expected GenEval's tag, prompt and include, or the "
            f"official {', '.join(FIELDS)} with a task of drawing; mend or remove the line"
        )
    if not isinstance(meta, str | None):
        raise DataError(f"{key} has meta {meta!r:.100}, expected text; write JSON as a string")
    if bool(paths) == (task == "text_to_image"):
        raise DataError(f"{key} is {task} with {len(paths)} input images; give an edit its picture, and no other task")
    return task, fields["instruction"], paths, meta or ""
