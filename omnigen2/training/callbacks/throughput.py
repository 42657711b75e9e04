"""How fast a run is: tokens, samples and steps by time, the wait for data, the use of the hardware, memory."""

import resource
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.fabric.utilities.throughput import get_available_flops
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

GIB = 1024**3


@runtime_checkable
class CountsWork(Protocol):
    """A module that can say how large a batch is, without asking the device."""

    def batch_samples(self, batch: Any) -> int:
        """Number of samples."""
        ...

    def batch_tokens(self, batch: Any) -> int:
        """Number of tokens."""
        ...


@runtime_checkable
class CountsFlops(Protocol):
    """A module that can say how much arithmetic a training step on a batch is."""

    def batch_flops(self, batch: Any) -> int:
        """Floating-point operations of forward and backward pass without recomputation."""
        ...


@dataclass
class _Window:
    """What happened since the last report. Seconds are those of this process."""

    steps: int = 0
    busy: float = 0.0
    waited: float = 0.0
    samples: int = 0
    tokens: int = 0
    flops: int = 0


class Throughput(Callback):
    """Logs the speed of training, without the time of validations and checkpoints.

    Under `throughput/`, as means since the last report:

    - `seconds_per_step`, and `data_seconds_per_step`, the part of it that waited for the next batch;
    - `samples_per_second`, `tokens_per_second`: of all processes together, if the module has `batch_samples(batch)`
      and `batch_tokens(batch)`;
    - `mfu`: the arithmetic of the model by that which the hardware could do, in [0, 1], if the module has
      `batch_flops(batch)` and the peak of the hardware is known;
    - `peak_memory_gib`: the most memory so far, allocated on the GPU, or of this process where there is none.

    A wait for data in which a checkpoint was written or a validation ran is left out whole; so is what runs in
    `paused`, such as the drawing of samples. On a GPU the host waits for the device once per report and at no other
    time.

    Args:
        every_n_steps: Optimizer steps between two reports; None for the trainer's `log_every_n_steps`.
        peak_flops: Operations per second of one device at best; None to look the device up. A device that is not
            known, such as a CPU, has no `mfu`.

    Source: model FLOPs utilization after Chowdhery et al., arXiv:2204.02311, appendix B.
    """

    def __init__(self, every_n_steps: int | None = None, peak_flops: float | None = None) -> None:
        if (every_n_steps is not None and every_n_steps < 1) or (peak_flops is not None and not peak_flops > 0):
            raise ValueError(
                f"every_n_steps must be at least 1 and peak_flops above 0, got {every_n_steps} and {peak_flops}"
            )
        self.every_n_steps = every_n_steps
        self.peak_flops = peak_flops
        self._peak: float | None = None
        self._every = 1
        self._window = _Window()
        self._last_step = 0
        self._mark = 0.0
        self._interrupted = False

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the peak of the hardware; the wait for the first batch is not counted."""
        self._every = report_interval(self.every_n_steps, trainer)
        device = trainer.strategy.root_device
        looked_up = None if device.type == "cpu" else get_available_flops(device, _dtype(str(trainer.precision)))
        self._peak = self.peak_flops or looked_up
        self._window = _Window()
        self._last_step = trainer.global_step
        self._interrupted = True
        self._mark = perf_counter()

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        now = perf_counter()
        if not self._interrupted:
            self._window.waited += now - self._mark
        self._interrupted = False
        self._mark = now

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        window = self._window
        if isinstance(pl_module, CountsWork):
            window.samples += pl_module.batch_samples(batch)
            window.tokens += pl_module.batch_tokens(batch)
        if isinstance(pl_module, CountsFlops):
            window.flops += pl_module.batch_flops(batch)
        window.steps += trainer.global_step - self._last_step
        reports = trainer.global_step != self._last_step and trainer.global_step % self._every == 0
        self._last_step = trainer.global_step
        if reports and trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize(trainer.strategy.root_device)
        now = perf_counter()
        window.busy += now - self._mark
        self._mark = now
        if reports:
            log_now(trainer, self._report(trainer, pl_module))
            self._window = _Window()

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._interrupted = True

    on_train_epoch_end = on_validation_start

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._interrupted = True

    @contextmanager
    def paused(self) -> Generator[None]:
        """Leave out the time of something that is not training, wherever between two batches or in one it happens."""
        began = perf_counter()
        try:
            yield
        finally:
            self._mark += perf_counter() - began

    def _report(self, trainer: Trainer, module: LightningModule) -> dict[str, float]:
        device = trainer.strategy.root_device
        own = [float(getattr(self._window, field.name)) for field in fields(_Window)]
        total = trainer.strategy.reduce(torch.tensor(own, dtype=torch.float64, device=device), reduce_op="sum")
        _, busy, waited, samples, tokens, flops = total.tolist()
        steps = self._window.steps
        seconds = (busy + waited) / trainer.world_size
        numbers = {
            "seconds_per_step": seconds / steps,
            "data_seconds_per_step": waited / trainer.world_size / steps,
            "peak_memory_gib": _peak_memory(device),
        }
        if isinstance(module, CountsWork):
            numbers |= {"samples_per_second": samples / seconds, "tokens_per_second": tokens / seconds}
        if isinstance(module, CountsFlops) and self._peak is not None:
            numbers["mfu"] = flops / seconds / (self._peak * trainer.world_size)
        return {f"throughput/{name}": value for name, value in numbers.items()}


def report_interval(every_n_steps: int | None, trainer: Trainer) -> int:
    """The steps between two reports: what the recipe says, or, if that is None, as often as the trainer logs."""
    logged = trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
    return max(1, logged) if every_n_steps is None else every_n_steps


def log_now(trainer: Trainer, metrics: dict[str, float]) -> None:
    """Give metrics of the step that has just ended to the loggers, in `on_train_batch_end` of the step.

    `LightningModule.log` would give them again with every later row until they are logged anew.
    """
    for logger in trainer.loggers:
        logger.log_metrics(metrics, step=trainer.global_step - 1)


def _dtype(precision: str) -> torch.dtype:
    if precision.startswith("bf16"):
        return torch.bfloat16
    return torch.float16 if precision.startswith("16") else torch.float32


def _peak_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024) / GIB
