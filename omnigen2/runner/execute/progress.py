"""Tells how far a run is."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        step: Optimizer steps done.
        steps: Optimizer steps of the whole run; 0 if nobody knows.
        metrics: The newest value of each metric.
    """

    step: int
    steps: int
    metrics: Mapping[str, float]


class ProgressCallback(Callback):
    """Hands a `Progress` to a function now and then, at the start and at the end.

    Args:
        send: Takes the progress.
        seconds: The least time between two calls.
    """

    def __init__(self, send: Callable[[Progress], None], seconds: float) -> None:
        self.send = send
        self.seconds = seconds
        self._sent = 0.0

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._report(trainer)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self._sent >= self.seconds:
            self._report(trainer)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._report(trainer)

    def _report(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
            self.send(Progress(trainer.global_step, total_steps(trainer), metrics))
        self._sent = time.monotonic()


def total_steps(trainer: Trainer) -> int:
    """Count the optimizer steps of a whole run; 0 if nobody knows: no end, no length, or a module that steps itself."""
    limits: list[int] = [trainer.max_steps] if trainer.max_steps >= 0 else []
    batches, once = trainer.num_training_batches, trainer.lightning_module.automatic_optimization
    if once and trainer.max_epochs is not None and trainer.max_epochs >= 0 and batches != float("inf"):
        limits.append(trainer.max_epochs * -(-int(batches) // trainer.accumulate_grad_batches))
    return min(limits, default=0)
