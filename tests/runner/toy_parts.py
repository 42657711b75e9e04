"""Small parts for the tests of the runner. They draw random numbers from torch and numpy.

Not from Python's `random`: the run-time type checker of the tests draws from it too.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class StepLoader:
    """Batches that are a function of the step, of epochs that go on where they were stopped."""

    def __init__(self, batch: Callable[[int], Any], steps: int) -> None:
        self.batch = batch
        self.steps = steps
        self.step = self.first = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        first, self.first = self.first, 0
        for step in range(first, self.steps):
            self.step = step + 1
            yield self.batch(step)

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.step = state["step"]
        self.first = self.step % self.steps


class Net(LightningModule):
    """A small regression with dropout and with noise from numpy."""

    def __init__(self, width: int = 4, lr: float = 0.01, activation: nn.Module | None = None) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        self.head = nn.Linear(3, width)
        self.body = nn.Sequential(activation or nn.Tanh(), nn.Dropout(0.3), nn.Linear(width, 1))
        self.lr = lr

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x = batch if isinstance(batch, Tensor) else batch[0]
        target = x.sum(1, keepdim=True) + 0.1 * np.random.rand()
        loss = (self.body(self.head(x)) - target).square().mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        # Noise in the validation too: a checkpoint must be taken after it, not before.
        error = self.body(self.head(batch)) - batch.sum(1, keepdim=True) + torch.rand(())
        self.log("val/error", error.square().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class EpochNet(Net):
    """Logs metrics that are gathered over an epoch, one of them not in every step."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("epoch/mean", loss, on_step=True, on_epoch=True)
        self.log("epoch/max", loss, on_step=False, on_epoch=True, reduce_fx="max")
        if batch_idx % 3 == 0:
            self.log("epoch/sum", loss, on_step=False, on_epoch=True, reduce_fx="sum")
        return loss


class RareNet(Net):
    """Logs a metric of steps and of the epoch in the first step of an epoch alone."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        if batch_idx == 0:
            self.log("rare", loss, on_step=True, on_epoch=True)
        return loss


class Broken(Net):
    """Fails in the middle of the training."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if self.global_step == 3:
            print("about to break")
            raise RuntimeError("the toy broke")
        return super().training_step(batch, batch_idx)


class Data(LightningDataModule):
    """Batches that are a function of the step, or a shuffled data set."""

    def __init__(
        self, width: int = 4, steps: int = 10, kind: Literal["steps", "shuffled"] = "steps", delay: float = 0.0
    ) -> None:
        super().__init__()
        self.steps = steps
        self.kind = kind
        self.delay = delay

    def train_dataloader(self) -> Any:
        if self.kind == "shuffled":
            data = torch.randn(4 * self.steps, 3, generator=torch.Generator().manual_seed(0))
            return DataLoader(TensorDataset(data), batch_size=4, shuffle=True)
        return StepLoader(self.batch, self.steps)

    def val_dataloader(self) -> Any:
        return StepLoader(lambda step: torch.ones(4, 3), 2)

    def batch(self, step: int) -> Tensor:
        time.sleep(self.delay)
        return torch.randn(4, 3, generator=torch.Generator().manual_seed(step))


class Send(Callback):
    """Sends a signal to this process at the n-th call of a hook."""

    def __init__(self, number: int, hook: str, count: int, while_checking: bool = True) -> None:
        self.number = number
        self.left = count
        self.while_checking = while_checking
        setattr(self, hook, self._count)

    def _count(self, trainer: Trainer, *arguments: Any) -> None:
        if trainer.sanity_checking and not self.while_checking:
            return
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


class Kill(Send):
    """Ends the process as `kill -9` does."""

    def __init__(self, hook: str, count: int) -> None:
        super().__init__(signal.SIGKILL, hook, count)


class Empty(LightningDataModule):
    """Takes no arguments."""


class OwnReport(Callback):
    """Writes a report when the training ends."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        (Path(trainer.default_root_dir) / "report.md").write_text("my own words\n")


class CosineNet(Net):
    """Its learning rate falls towards the end of the run."""

    def configure_optimizers(self) -> Any:
        found = super().configure_optimizers()
        length = self.trainer.max_steps
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(found["optimizer"], T_max=length)
        return found | {"lr_scheduler": {"scheduler": schedule, "interval": "step"}}
