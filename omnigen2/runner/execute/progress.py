"""Tells how far a run is: to a terminal, to a log, or to the process that runs a study."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
from rich.progress import Progress as Drawing
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
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.send(Progress(trainer.global_step, total_steps(trainer), metrics))
        self._sent = time.monotonic()


def total_steps(trainer: Trainer) -> int:
    """Count the optimizer steps of a whole run; 0 if the recipe sets no end or the loader has no length."""
    limits: list[int] = [trainer.max_steps] if trainer.max_steps >= 0 else []
    batches = trainer.num_training_batches
    if trainer.max_epochs is not None and trainer.max_epochs >= 0 and batches != float("inf"):
        limits.append(trainer.max_epochs * -(-int(batches) // trainer.accumulate_grad_batches))
    return min(limits, default=0)


class Bar:
    """Draws progress as one line of a terminal, drawn again and again until the run is at its end.

    Args:
        console: The terminal.
        title: Stands before the bar.
    """

    def __init__(self, console: Console, title: str) -> None:
        columns = (
            "[progress.description]{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            "steps,",
            TimeRemainingColumn(compact=True),
            "left {task.fields[metrics]}",
        )
        self._bar = Drawing(*columns, console=console)
        self._task = self._bar.add_task(title, metrics="")

    def __call__(self, progress: Progress) -> None:
        """Draw how far the run is."""
        self._bar.start()
        metrics = " · ".join(f"{name} {value:.4g}" for name, value in sorted(progress.metrics.items()))
        self._bar.update(self._task, completed=progress.step, total=progress.steps or None, metrics=metrics)
        if progress.step >= progress.steps > 0:
            self._bar.stop()


class PlainLines:
    """Prints progress as lines, for output that is not a terminal.

    Args:
        say: Prints one line.
        title: Stands before every line; may be empty.
    """

    def __init__(self, say: Callable[[str], None], title: str = "") -> None:
        self.say = say
        self.title = title
        self._start: tuple[float, int] | None = None

    def __call__(self, progress: Progress) -> None:
        """Print how far the run is."""
        now = time.monotonic()
        if self._start is None:
            self._start = (now, progress.step)
        began, first = self._start
        parts = [self.title] if self.title else []
        parts += [f"step {progress.step}" + (f" of {progress.steps}" if progress.steps else "")]
        parts += [f"{name} {value:.4g}" for name, value in sorted(progress.metrics.items())]
        if progress.step > first and progress.steps > progress.step:
            left = (now - began) / (progress.step - first) * (progress.steps - progress.step)
            parts.append(f"{duration(left)} left")
        self.say(" · ".join(parts))


def duration(seconds: float) -> str:
    """Write a duration as a person would say it: `45 s`, `12 min` or `3 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
