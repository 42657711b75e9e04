"""The loss of a flow by time: where between noise and data a model still errs."""

from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from omnigen2.flow import TimeBins
from omnigen2.training.callbacks.throughput import log_now, report_interval


@runtime_checkable
class HasTimeBins(Protocol):
    """A module that keeps the time bins of its newest training batch."""

    time_bins: TimeBins | None


class LossByTime(Callback):
    """Logs the mean squared error of each time bin as `loss/t_0.0-0.1` and so on.

    The module sets `self.time_bins = flow_loss.bins` in `training_step`. Sums and counts are gathered on the device
    over steps and batches, and added over all processes for a report; only then the host waits for them. Every element
    counts the same. A bin into which nothing fell is not logged.

    The sums are part of a checkpoint, so that a run of one process that goes on reports the same numbers.

    Args:
        every_n_steps: Optimizer steps between two reports; None for the trainer's `log_every_n_steps`.
    """

    def __init__(self, every_n_steps: int | None = None) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._sums: Tensor | None = None
        self._last_step = 0

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"sums": None if self._sums is None else self._sums.cpu()}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._sums = state_dict["sums"]

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a module without time bins.

        Raises:
            TypeError: If the module has no attribute `time_bins`.
        """
        if not isinstance(pl_module, HasTimeBins):
            raise TypeError(
                f"LossByTime needs a module with the attribute `time_bins`, got {type(pl_module).__name__}; set "
                "self.time_bins = flow_loss.bins in training_step, and to None in __init__"
            )
        self._last_step = trainer.global_step

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        bins = pl_module.time_bins if isinstance(pl_module, HasTimeBins) else None
        if bins is not None:
            new = torch.stack([bins.squared_error, bins.elements]).detach().double()
            self._sums = new if self._sums is None else self._sums.to(new.device) + new
        stepped, self._last_step = trainer.global_step != self._last_step, trainer.global_step
        if stepped and trainer.global_step % report_interval(self.every_n_steps, trainer) == 0:
            self._report(trainer)

    def _report(self, trainer: Trainer) -> None:
        if self._sums is None:
            return
        squared_error, elements = trainer.strategy.reduce(self._sums, reduce_op="sum").tolist()
        self._sums = None
        names = bin_names(len(elements))
        found = zip(names, squared_error, elements, strict=True)
        log_now(trainer, {f"loss/t_{name}": error / count for name, error, count in found if count})


def bin_names(num_bins: int) -> list[str]:
    """Name equal bins of [0, 1] by their borders, such as `0.0-0.1`; all names are different."""
    digits = next(digits for digits in range(1, 10) if 10**digits % num_bins == 0 or 10**digits > 10 * num_bins)
    borders = [f"{border / num_bins:.{digits}f}" for border in range(num_bins + 1)]
    return [f"{low}-{high}" for low, high in zip(borders, borders[1:], strict=False)]
