"""Pictures with their prompts while a run goes on, so that one sees what it has learned."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor
from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.files import write_bytes, write_json
from omnigen2.pictures import Panel, Section, sheet_png
from omnigen2.training.callbacks.beside import beside_training

FOLDER = "samples"


@dataclass(frozen=True, slots=True)
class GridItem:
    """One sample.

    Attributes:
        prompt: What was asked.
        image: The answer, in [-1, 1].
        references: The pictures that were given with the prompt, in [-1, 1], in order.
        target: The right answer, where there is one, in [-1, 1].
        verdict: What a verifier says, in words.
        passed: Whether it is satisfied; None where nobody judged.
    """

    prompt: str
    image: Float[Tensor, "3 _ _"]
    references: tuple[Float[Tensor, "3 _ _"], ...] = ()
    target: Float[Tensor, "3 _ _"] | None = None
    verdict: str = ""
    passed: bool | None = None


@runtime_checkable
class DrawsSamples(Protocol):
    """A module that can show what it has learned.

    One that shows validation examples says so by an attribute `shows_validation = True`.
    """

    def sample_grid(self, trainer: Trainer) -> Sequence[GridItem]:
        """Draw the same few requests every time, from the same noise; called by all processes, without gradients."""
        ...


class SampleGrid(Callback):
    """Asks the module for samples now and then, and writes them as a contact sheet.

    `samples/step_<step>.png` in the folder of the run shows for each sample the references, the answer, the target
    where there is one, and below them the prompt and the verdict; `samples/step_<step>.json` has the words. The sheet
    goes to TensorBoard too if the run has it. Drawing does not touch training: the module is in evaluation mode with
    the averaged weights of `EMA` where the run has them, random states are put back, and `Throughput` does not count
    it.

    Args:
        every_n_steps: Optimizer steps between two sheets, at least 1; there is always one at the end.
    """

    def __init__(self, every_n_steps: int) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._drawn_step = -1

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a module that draws nothing, before time is spent on the training.

        Raises:
            TypeError: If the module has no `sample_grid`.
            UserError: If it shows validation examples, and there are none.
        """
        if not isinstance(pl_module, DrawsSamples):
            raise TypeError(
                f"SampleGrid needs a module with sample_grid(trainer), got {type(pl_module).__name__}; add the method "
                "or leave the callback out"
            )
        loaders = trainer.val_dataloaders
        without = not trainer.enable_validation or (loaders is not None and not loaders)
        if without and getattr(pl_module, "shows_validation", False):
            raise UserError(
                "SampleGrid shows validation examples, and there are none",
                "add validation data, or leave the callback out of trainer.callbacks",
            )
        self._drawn_step = trainer.global_step

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self._draw(trainer, pl_module)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.global_step == self._drawn_step or not isinstance(module, DrawsSamples):
            return
        self._drawn_step = trainer.global_step
        with beside_training(trainer, module):
            items = module.sample_grid(trainer)
            if trainer.is_global_zero:
                folder = Path(trainer.default_root_dir) / FOLDER
                save_grid(folder, trainer.global_step, items)
                for logger in trainer.loggers:
                    if isinstance(logger, TensorBoardLogger):
                        sheet = Image.open(folder / f"step_{trainer.global_step}.png")
                        logger.experiment.add_image(FOLDER, np.asarray(sheet), trainer.global_step, dataformats="HWC")


def save_grid(folder: Path, step: int, items: Sequence[GridItem]) -> None:
    """Write samples as a contact sheet, `step_<step>.png`, and their words, `.json`, in a folder that is made.

    Raises:
        ValueError: If there are no samples.
    """
    if not items:
        raise ValueError("sample_grid returned no samples; return at least one")
    judged = [item.passed for item in items if item.passed is not None]
    heading = f"{sum(judged)} of {len(judged)} right" if judged else f"{len(items)} samples"
    folder.mkdir(parents=True, exist_ok=True)
    sheet = sheet_png(f"step {step}", [Section(heading, tuple(map(_panel, items)))])
    write_bytes(folder / f"step_{step}.png", sheet)
    words = [
        {
            "prompt": item.prompt,
            "references": len(item.references),
            "target": item.target is not None,
            "verdict": item.verdict,
            "passed": item.passed,
        }
        for item in items
    ]
    write_json(folder / f"step_{step}.json", {"step": step, "items": words})


def _panel(item: GridItem) -> Panel:
    pictures = [(f"reference {number}", image) for number, image in enumerate(item.references, start=1)]
    pictures.append(("result" if item.references or item.target is not None else "", item.image))
    pictures += [] if item.target is None else [("target", item.target)]
    mark = {True: "✓ ", False: "✗ ", None: ""}[item.passed]
    shown = tuple((name, image.detach().float().cpu()) for name, image in pictures)
    return Panel("", shown, item.prompt, f"{mark}{item.verdict}".strip(), item.passed)
