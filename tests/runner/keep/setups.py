"""All kinds of runs that can be stopped, drawn by hypothesis, and what each comes to if nobody stops it."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, Literal

import torch
from hypothesis import strategies as st
from lightning.pytorch import Callback
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor

from omnigen2.runner.plan import Config, parse
from tests.runner.recipes import PARTS, PLAIN, checkpoints_every, write
from tests.runner.runs import outcome, run_with
from tests.runner.toy_parts import Data, EpochNet, StepLoader

HERE = "tests.runner.keep.setups"
Kind = Literal["steps", "shuffled", "several"]
HOOKS = tuple(
    sorted(
        name
        for name in vars(Callback)
        if name.startswith("on_") and not any(word in name for word in ("test", "predict", "exception", "load"))
    )
)
"""Every hook of training and validation at which a callback can end a run."""
OWN_POINT = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"every_n_train_steps": 2}}


@dataclass(frozen=True)
class Setup:
    """A run of a toy.

    Attributes:
        batches: Of an epoch.
        steps: Of the whole run; -1 for `epochs`.
        every: Steps between checkpoints; None for those of the recipe's own `ModelCheckpoint`.
        validation: Batches between validations; 0 for none, None for one at the end of each epoch.
        across: Whether validations are counted on over epochs.
        gathers: Whether metrics are gathered over an epoch.
    """

    batches: int = 5
    steps: int = 12
    epochs: int = -1
    every: int | None = 1
    every_epochs: int = 1
    validation: int | None = None
    across: bool = False
    accumulate: int = 1
    gathers: bool = True
    kind: Kind = "steps"

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Layers over the plain recipe."""
        trainer: dict[str, Any] = {
            "max_steps": self.steps,
            "max_epochs": self.epochs,
            "accumulate_grad_batches": self.accumulate,
            "val_check_interval": self.validation or 1.0,
            "limit_val_batches": 0 if self.validation == 0 else 1.0,
            "check_val_every_n_epoch": None if self.across else 1,
        }
        model = f"{HERE}.SeveralNet" if self.kind == "several" else f"{PARTS}.{'EpochNet' if self.gathers else 'Net'}"
        data = f"{HERE}.Several" if self.kind == "several" else f"{PARTS}.Data"
        arguments = {"steps": self.batches} | ({} if self.kind == "several" else {"kind": self.kind})
        parts = {"model": {"class_path": model}, "data": {"class_path": data, "init_args": arguments}}
        callbacks: list[Any] = [OWN_POINT]
        if self.every is not None:
            callbacks = checkpoints_every(self.every)["trainer"]["callbacks"]
            callbacks[0]["init_args"]["every_n_epochs"] = self.every_epochs
        return [PLAIN, {"trainer": trainer | {"callbacks": callbacks}}, parts]


@st.composite
def setups(draw: st.DrawFn) -> Setup:
    """Any run of up to 14 steps or 3 epochs."""
    batches = draw(st.integers(1, 9))
    kind: Kind = draw(st.sampled_from(["steps", "steps", "steps", "shuffled", "several"]))
    by_steps = draw(st.booleans())
    validation = draw(st.none() | st.integers(0, batches))
    across = draw(st.booleans()) and bool(validation)
    return Setup(
        batches=batches,
        steps=draw(st.integers(1, 14)) if by_steps else -1,
        epochs=-1 if by_steps else draw(st.integers(1, 3)),
        # a loader without a state is exact at the ends of epochs
        every=0 if kind == "shuffled" else draw(st.none() | st.integers(0, 4)),
        every_epochs=draw(st.integers(1, 2)),
        validation=draw(st.integers(1, 2 * batches)) if across else validation,
        across=across,
        accumulate=draw(st.sampled_from([1, 1, 2, 3])),
        gathers=draw(st.booleans()),
        kind=kind,
    )


@cache
def _home() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="stopped-runs-")  # until this process ends


@cache
def config_of(setup: Setup) -> Config:
    """The checked recipe of a run."""
    return parse([f"--config={write(fresh() / 'recipe.yaml', *setup.layers)}"])


@cache
def whole(setup: Setup) -> tuple[str, dict[str, bytes]]:
    """What a run comes to that nobody stops."""
    folder = fresh()
    assert run_with(config_of(setup), folder) == 0
    return outcome(folder)


def fresh() -> Path:
    """A new folder."""
    return Path(mkdtemp(dir=_home().name))


class SeveralNet(EpochNet):
    """Learns from the first of two loaders and validates on two."""

    def validation_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> None:
        super().validation_step(batch, batch_idx)


class Several(Data):
    """Two loaders for training, one of them shorter, and two for validation."""

    def train_dataloader(self) -> Any:
        second = StepLoader(lambda step: self.batch(100 + step), 1 + self.steps // 2)
        return CombinedLoader([StepLoader(self.batch, self.steps), second], "max_size_cycle")

    def val_dataloader(self) -> Any:
        return [StepLoader(lambda step: torch.ones(4, 3), 2), StepLoader(lambda step: torch.zeros(4, 3), 1)]
