"""Checkpoints from which a run goes on to the very numbers it would have reached without a stop."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from omnigen2.runner.keep import lightning_private as private
from omnigen2.runner.keep import state
from omnigen2.runner.keep.metrics import CsvLogger
from omnigen2.runner.keep.pointer import (
    Pointer,
    committed_checkpoint,
    delete,
    read_pointer,
    unsafe,
)


class ResumePoint(Checkpoint):
    """Keeps one checkpoint, the newest, from which a stopped run continues exactly.

    What Lightning's own checkpoints lack for that: the states of the random number generators; a
    validation that is due at the same step (we wait for it); and the metrics, since Lightning logs the
    metrics of a step after its checkpoint. So a checkpoint counts only once everything that was logged
    up to it is in `metrics.csv`: then `resume.json` is replaced, which names the checkpoint and the
    number of rows, and the older checkpoint is deleted. A run that is killed at any moment has a valid
    `resume.json`.

    Exact for any number of processes, as long as it stays the same: each gets its own random states back. With
    another number there is a warning, and the run goes on with fresh ones. Exact for loaders that can be restored in
    the middle of an epoch (`StepLoader`) or checkpoints at the ends of epochs.

    A run that ended with its `max_steps` goes on in the middle of its last epoch if it is asked for more.

    Args:
        every_n_train_steps: Optimizer steps between two checkpoints; 0 for none within an epoch.
        every_n_epochs: Epochs between two checkpoints at an epoch's end; there is always one at the end.
        minutes: The most minutes of training that a kill can cost; None for no such limit.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(self, every_n_train_steps: int = 0, every_n_epochs: int = 1, minutes: float | None = 5.0) -> None:
        if every_n_train_steps < 0 or every_n_epochs < 1:
            raise ValueError(
                "every_n_train_steps must be at least 0 and every_n_epochs at least 1, "
                f"got {every_n_train_steps} and {every_n_epochs}"
            )
        self.every_n_train_steps = every_n_train_steps
        self.every_n_epochs = every_n_epochs
        self.minutes = math.inf if minutes is None else minutes
        self._pending: Path | None = None
        self._committed: Path | None = None
        self._waits_for_validation = False
        self._saved_step = -1
        self._saved_time = self._started = time.monotonic()
        self._earlier_seconds = 0.0
        self.epochs = 0
        """Epochs so far, the last of a run included, which may have been cut short."""
        self._epoch_ended = False
        self._logged_step = 0
        self._limit_reached = False
        self._rows = 0  # of metrics.csv, before those of the end of an epoch
        self._running: state.Values = {}  # what the metrics of this epoch had gathered before a restart
        self._running_now: state.Values = {}
        self._restored: dict[str, Any] | None = None
        self._random: dict[str, Any] | None = None
        self._fit_started = False
        self._asked = False

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self._earlier_seconds + time.monotonic() - self._started

    def ask(self) -> None:
        """Have a checkpoint written as soon as it can be exact: after this step, or after the validation due then."""
        self._asked = True

    def answered(self, trainer: Trainer) -> bool:
        """Whether the newest step has a checkpoint that counts, so that the process may end without losing anything.

        To be asked at the start of a batch or of an epoch, when all that belongs to the last step has been logged.
        """
        return self._committed is not None and self._saved_step == trainer.global_step

    @override
    def state_dict(self) -> dict[str, Any]:
        """Random states, seconds, and where in the loop the checkpoint is taken; every process must call it."""
        return {
            "seconds": self.seconds,
            "epoch_ended": self._epoch_ended,
            "epochs": self.epochs,
            "logged_step": self._logged_step,
            "limit_reached": self._limit_reached,
            "rows": self._rows,
            "processes": state.of_all_processes({"running": self._running_now, "random": state.random_states()}),
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember a checkpoint's state until training starts."""
        self._restored = state_dict
        self._earlier_seconds = state_dict["seconds"]
        self.epochs = state_dict["epochs"]
        self._random = None
        saved, processes = state_dict["processes"], dist.get_world_size() if dist.is_initialized() else 1
        if len(saved) == processes:
            own = saved[dist.get_rank() if processes > 1 else 0]
            self._running, self._random = own["running"], own["random"]
        else:
            rank_zero_warn(
                f"the checkpoint was made by {len(saved)} processes, and now there are {processes}: its random states "
                "and the running metrics of its epoch cannot be restored, and a step may be of another number of "
                "samples. The run goes on with other random numbers; for the same ones, continue with as many "
                "processes as before"
            )
        if self._fit_started:  # strategies that shard restore late
            self.restore_random_states(epoch_ended=True)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        callbacks: list[Callback] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
        if not any(isinstance(callback, _Commits) for callback in callbacks):
            callbacks.insert(0, _Commits(self))

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the random states if the next thing is a new epoch, whose loader draws its seed early."""
        self._started = self._saved_time = time.monotonic()
        self._fit_started = True
        self.restore_random_states(epoch_ended=True)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the random states if the next thing is a batch in the middle of an epoch; else let a new epoch begin."""
        self._fit_started = False
        if self._random is not None and bool(self._random["cuda"]) != (trainer.strategy.root_device.type == "cuda"):
            rank_zero_warn(
                "the checkpoint was made on a device of another kind, whose random numbers cannot be continued on this "
                "one: what is drawn there goes on with others"
            )
        if self._restored is not None and self._restored["epoch_ended"]:
            if self._restored.get("limit_reached") and private.has_more_batches(trainer):
                self._reopen(trainer, self._restored["rows"])
                self._restored |= {"epoch_ended": False}
            else:
                private.close_epoch(trainer)
                self._running = {}
        self.restore_random_states(epoch_ended=False)
        if self._restored is not None:
            self._committed = committed_checkpoint(_folder(trainer))
            self._saved_step = trainer.global_step

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Put the step of the metrics right after a restart."""
        if self._restored is not None:
            private.set_logged_step(trainer, self._restored["logged_step"])
            self._restored = None

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time; wait if a validation or the end of the epoch comes next."""
        self._epoch_ended = False
        self._running = state.add_running_values(trainer, self._running)
        ends = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if private.accumulates(trainer) or ends or not self._is_time(trainer):
            return
        if private.validation_is_due(trainer):
            self._waits_for_validation = True
        else:
            self._save(trainer)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._waits_for_validation and not trainer.sanity_checking:
            self._waits_for_validation = False
            self._save(trainer)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at the end of an epoch, and at the end of training."""
        self._epoch_ended = True
        self.epochs = trainer.current_epoch + 1
        self._running_now = self._running | state.running_values(trainer)
        self._rows = _rows(trainer)
        state.log_running_values(pl_module, self._running)
        self._running = {}
        ends = (
            trainer.should_stop
            or 0 <= trainer.max_steps <= trainer.global_step
            or 0 <= (trainer.max_epochs or -1) <= trainer.current_epoch + 1
        )
        if ends or self._asked or (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._save(trainer)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the last checkpoint count when all other callbacks have written what belongs to the end."""
        self.commit(trainer)

    def _reopen(self, trainer: Trainer, rows: int) -> None:
        """Take back the end of an epoch in which a run had all the steps that it was asked for then."""
        private.reopen_epoch(trainer)
        folder = _folder(trainer)
        if trainer.is_global_zero and (pointer := read_pointer(folder)) is not None:
            replace(pointer, rows=rows).write(folder)
        for logger in _csv_loggers(trainer):
            logger.keep(rows)

    def restore_random_states(self, epoch_ended: bool) -> None:
        """Set the random states of the checkpoint, if it was made at the end of an epoch, or not, as is asked."""
        if self._restored is not None and self._random is not None and self._restored["epoch_ended"] == epoch_ended:
            state.set_random_states(self._random)

    def _is_time(self, trainer: Trainer) -> bool:
        step = trainer.global_step
        if step == self._saved_step:
            return False
        if self._asked:
            return True
        late = time.monotonic() - self._saved_time > 60 * self.minutes
        if trainer.world_size > 1 and self.minutes < math.inf:
            late = trainer.strategy.broadcast(late)
        return late or (self.every_n_train_steps > 0 and step % self.every_n_train_steps == 0)

    def _save(self, trainer: Trainer) -> None:
        path = _folder(trainer) / "checkpoints" / f"resume-{trainer.global_step:08d}.ckpt"
        if path == self._committed:
            return
        self._logged_step = private.logged_step(trainer) + (0 if self._epoch_ended else 1)
        self._limit_reached = 0 <= trainer.max_steps <= trainer.global_step
        if not self._epoch_ended:
            self._running_now = self._running | state.running_values(trainer)
        trainer.save_checkpoint(path)
        if self._committed is None and trainer.is_global_zero and (found := unsafe(path)):
            rank_zero_warn(
                f"the checkpoint holds {', '.join(found)}, which are not loaded from a file, for safety: a stopped run "
                "could not go on. Keep tensors, numbers, texts, lists and mappings in the hyperparameters and in the "
                "state of callbacks and data, or allow these classes with torch.serialization.add_safe_globals([…])"
            )
        self._pending = path
        self._saved_step = trainer.global_step
        self._saved_time = time.monotonic()

    def commit(self, trainer: Trainer) -> None:
        """Make the last checkpoint count: all that belongs to it has been logged."""
        if self._pending is None:
            return
        if trainer.is_global_zero:
            losses = {name: float(value) for name, value in trainer.callback_metrics.items() if "loss" in name}
            Pointer(self._pending.name, _rows(trainer), self._saved_step, losses).write(_folder(trainer))
            if self._committed is not None:
                delete(self._committed)
        self._committed, self._pending = self._pending, None


class _Commits(Callback):
    """Makes checkpoints count before any callback logs what belongs to the next step; the first one in the trainer."""

    def __init__(self, point: ResumePoint) -> None:
        self.point = point

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.point.commit(trainer)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.point.commit(trainer)


def _folder(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir)


def _csv_loggers(trainer: Trainer) -> list[CsvLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, CsvLogger)]


def _rows(trainer: Trainer) -> int:
    return sum(logger.rows for logger in _csv_loggers(trainer))
