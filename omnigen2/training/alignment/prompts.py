"""Prompts to draw pictures for, from files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning as L
import torch
from typing_extensions import override

from omnigen2.data import Batch, DataError, Example, TextLimit, TokenBudget
from omnigen2.files import MOST_STEPS, check_most
from omnigen2.pictures import ImageFileError, ImageReader, ResizePolicy, to_pixels
from omnigen2.training.alignment.prompt_lines import Prompt, most_references, read_prompts
from omnigen2.training.parts import StepLoader


@runtime_checkable
class HasPrompts(Protocol):
    """Data of prompts, each a function of its number alone."""

    prompts: int
    """How many there are."""

    def prompt(self, number: int) -> Example:
        """One prompt. Its target is a picture of the size to be drawn, which nobody looks at.

        Raises:
            DataError: If a picture of it cannot be opened. That costs its group and does not stop the training.
        """
        ...


class JsonlPrompts(L.LightningDataModule):
    """Prompts from files of one JSON object per line.

    A line is either one of GenEval's metadata (`{"tag": …, "include": […], "prompt": …}`), which then travels with the
    prompt for `GenEvalReward`; or one of the official layout of training data and of EditScore's RL data, of which
    `task_type`, `instruction`, `input_images`, `target_img_size` and `meta` or `meta_data` are used. Where `task_type`
    is none of ours, what has references is an edit. An edit is drawn in the size of its only reference, everything else
    in that of its line, or in `size`.

    When a training begins, every line is read and every picture is looked for. Pictures are opened when they are drawn
    for: one that is broken costs the group of its prompt.

    Args:
        files: Of the prompts.
        steps: Iterations of one epoch: at least as many as the training has.
        size: (height, width) in pixels of what has no single reference.
        resize: Sizes of references, and the side of one token.
        validation_files: Of prompts that are drawn for sheets and validation, and never trained on.
        image_root: What relative image paths start from; each file's folder if None.

    Raises:
        DataError: If `steps` is below 1 or there is no file; and, when a training begins, if a file is missing or has
            no prompts, or a line is something else.
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
        check_most("steps of JsonlPrompts", steps, MOST_STEPS, DataError)
        if steps < 1 or not files:
            raise DataError(f"JsonlPrompts needs steps >= 1 and at least one file, got {steps} and {list(files)}")
        self.files = tuple(files)
        self.steps = steps
        self.size = size
        self.budget = TokenBudget(2**31, ResizePolicy() if resize is None else resize)
        self.validation_files = tuple(validation_files)
        self.image_root = None if image_root is None else Path(image_root)
        self.reader = ImageReader()
        self._prompts: list[Prompt] = []
        self._held_out: list[Prompt] = []

    @property
    def prompts(self) -> int:
        """How many there are."""
        return len(self._read())

    def prompt(self, number: int) -> Example:
        """One prompt, its references decoded and resized, with an empty target of its size."""
        return self._example(self._read()[number])

    @override
    def setup(self, stage: str) -> None:
        """Read all files, before any model is loaded."""
        self._read()

    def most_references(self) -> tuple[int, str]:
        """The largest number of references of a prompt, also of those for validation, and which one it is."""
        return most_references([*self._read(), *self._held_out])

    def check_texts(self, limit: TextLimit) -> None:
        """Refuse instructions that are too long, also of those for validation."""
        for prompt in [*self._read(), *self._held_out]:
            limit.check(prompt.where, prompt.instruction, references=len(prompt.references))

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
        self._read()
        return Batch(tuple(map(self._example, self._held_out)), self.budget)

    def _read(self) -> list[Prompt]:
        if not self._prompts:
            self._held_out = read_prompts(self.validation_files, self.image_root)
            self._prompts = read_prompts(self.files, self.image_root)
        return self._prompts

    def _example(self, prompt: Prompt) -> Example:
        policy = self.budget.resize
        try:
            pictures = [self.reader.read(path) for path in prompt.references]
        except ImageFileError as error:
            raise DataError(f"{prompt.where}: {error.message}", error.remedy, error.arguments) from error
        references = tuple(map(to_pixels, policy.resize_references(pictures)))
        one = prompt.task == "edit" and len(references) == 1
        height, width = references[0].shape[1:] if one else policy.size(*(prompt.size or self.size))
        return Example(
            task=prompt.task,
            source=prompt.file.stem,
            key=f"{prompt.file.name}:{prompt.line}",
            instruction=prompt.instruction,
            prompt_dropped=False,
            references=references,
            target=torch.zeros(3, height, width),
            answer=None,
            meta=prompt.meta,
        )
