"""Pictures with their prompts while a run goes on, so that one sees what it has learned."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor

from omnigen2.files import write_json
from omnigen2.pictures import Panel, Section, contact_sheet
from omnigen2.runner.keep import random_states, set_random_states
from omnigen2.training.callbacks.ema import EMA
from omnigen2.training.callbacks.throughput import Throughput

FOLDER = "samples"
DOTS_PER_INCH = 110


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
    """A module that can show what it has learned."""

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

    Raises:
        ValueError: If `every_n_steps` is below 1.
    """

    def __init__(self, every_n_steps: int) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._drawn_step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a module that draws nothing.

        Raises:
            TypeError: If the module has no `sample_grid`.
        """
        if not isinstance(pl_module, DrawsSamples):
            raise TypeError(
                f"SampleGrid needs a module with sample_grid(trainer), got {type(pl_module).__name__}; add the method "
                "or leave the callback out"
            )
        self._drawn_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw if it is time."""
        if trainer.global_step % self.every_n_steps == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last sheet."""
        self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.global_step == self._drawn_step or not isinstance(module, DrawsSamples):
            return
        self._drawn_step = trainer.global_step
        with _beside_training(trainer, module):
            items = module.sample_grid(trainer)
            if trainer.is_global_zero:
                save_grid(Path(trainer.default_root_dir) / FOLDER, trainer.global_step, items)
                for logger in trainer.loggers:
                    if isinstance(logger, TensorBoardLogger):
                        sheet = Image.open(Path(trainer.default_root_dir) / FOLDER / f"step_{trainer.global_step}.png")
                        logger.experiment.add_image(FOLDER, np.asarray(sheet), trainer.global_step, dataformats="HWC")


def save_grid(folder: Path, step: int, items: Sequence[GridItem]) -> None:
    """Write samples as a contact sheet, and their words.

    Args:
        folder: Made if it does not exist; `step_<step>.png` and `.json` appear in it.
        step: Optimizer steps done.
        items: At least one.

    Raises:
        ValueError: If there are no samples.
    """
    if not items:
        raise ValueError("sample_grid returned no samples; return at least one")
    judged = [item.passed for item in items if item.passed is not None]
    heading = f"{sum(judged)} of {len(judged)} right" if judged else f"{len(items)} samples"
    figure = contact_sheet(f"step {step}", [Section(heading, tuple(_panel(item) for item in items))])
    folder.mkdir(parents=True, exist_ok=True)
    picture = BytesIO()
    figure.savefig(picture, dpi=DOTS_PER_INCH, format="png")
    draft = folder / f".step_{step}.png.new"
    draft.write_bytes(picture.getvalue())
    draft.replace(folder / f"step_{step}.png")
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


@contextmanager
def _beside_training(trainer: Trainer, module: LightningModule) -> Generator[None]:
    """Leave the modes, the weights, the random states and the clock of training as they were."""
    modes = {part: part.training for part in module.modules()}
    states = random_states()
    with ExitStack() as stack:
        for callback in trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
            if isinstance(callback, Throughput):
                stack.enter_context(callback.paused())
            if isinstance(callback, EMA):
                stack.enter_context(callback.applied(module))
        stack.enter_context(torch.no_grad())
        module.eval()
        try:
            yield
        finally:
            for part, mode in modes.items():
                part.training = mode
            set_random_states(states)
