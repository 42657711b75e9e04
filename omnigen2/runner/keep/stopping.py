"""Ends a run cleanly when the system, a scheduler or the user asks it to, so that no finished step is lost."""

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from omnigen2.runner.keep.resume import ResumePoint

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""Of a system that shuts down, of Ctrl-C, and of schedulers that warn of a time limit (SLURM's `--signal=USR1@90`, and
submitit's)."""


class SaveOnSignal(Callback):
    """Finishes the step, has the run's `ResumePoint` write a checkpoint, and ends the process.

    The process ends with 128 plus the number of the signal, as if the signal had ended it, and says that the same
    command goes on; the run that goes on does so from this very step. If a validation is due at the step, it is
    finished first; if the step was the last one, the run ends as it always does. A second signal of the same kind
    does what it would do without this callback: Ctrl-C twice stops at once.

    Several processes agree after every step whether one of them was asked, and stop together. Signals that the
    process ignores stay ignored, and in a thread that is not the main one nothing is changed. This takes the place of
    Lightning's own handlers, also of the one that puts a SLURM job back into its queue.

    What an exception ends is not saved: in the middle of a step there is no exact state. `ResumePoint` limits what
    that can cost.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._stops = False
        self._step = 0
        self._earlier: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to signals.

        Raises:
            TypeError: If the trainer has no `ResumePoint` to ask.
        """
        self._point(trainer)
        self._received, self._stops, self._step = None, False, trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._earlier[number] = signal.signal(number, self._receive)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for a checkpoint if any process was asked to stop; all of them learn it after the same step."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        asked = self._received is not None
        if not self._stops and trainer.strategy.reduce_boolean_decision(asked, all=False):
            self._stops = True
            self._point(trainer).ask()

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._stop(trainer)

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop(trainer)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._leave()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._leave()

    def _stop(self, trainer: Trainer) -> None:
        if not self._stops or not self._point(trainer).answered(trainer):
            return
        number = self._received or signal.SIGTERM  # another process has received it
        if trainer.is_global_zero:
            name = signal.Signals(number).name
            words = f"\nstopped by {name} after step {trainer.global_step}; the same command goes on from there"
            print(words, file=sys.stderr, flush=True)
        raise SystemExit(128 + number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        signal.signal(number, self._earlier.pop(number))

    def _leave(self) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self._earlier.clear()

    def _point(self, trainer: Trainer) -> ResumePoint:
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ResumePoint):
                return callback
        raise TypeError("SaveOnSignal needs a ResumePoint among the trainer's callbacks; add one, or leave both out")
