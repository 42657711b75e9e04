# pyright: reportPrivateUsage=false
"""All that is touched of Lightning behind its public names: each thing in one function, with what it is needed for.

Each function has a test of its own, which fails when an upgrade of Lightning takes the thing away or changes it.
"""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from typing_extensions import override


class SeedsLater(LightningCLI):
    """Leaves the random state alone: parsing a recipe must not touch it; a run seeds when it starts."""

    @override
    def _set_seed(self) -> None: ...


def attach(trainer: Trainer, model: LightningModule, data: LightningDataModule | None) -> None:
    """Let a model and data ask the trainer how long the run is, without starting it: for dry runs."""
    model.trainer = trainer
    trainer.strategy.connect(model)
    trainer._data_connector.attach_data(model, datamodule=data)


def trainer_of(module: LightningModule) -> Trainer | None:
    """The trainer, or None of a module that is used without one: `module.trainer` raises there."""
    return module._trainer


def saves_folders(strategy: Strategy | None) -> bool:
    """Whether checkpoints become folders of shards, which modules that save a part of their weights must refuse."""
    return isinstance(strategy, ModelParallelStrategy) and strategy._save_distributed_checkpoint


def steps_between_checkpoints(point: ModelCheckpoint) -> int:
    """Read the interval of a recipe's own checkpoints, which ours take over; 0 for none within an epoch."""
    return point._every_n_train_steps


def epoch_results(trainer: Trainer) -> Any:
    """What `self.log(…, on_epoch=True)` has gathered in this epoch, by key; Lightning's checkpoints do not hold it.

    Returns:
        A mapping to metrics with `value`, `update_called`, `is_tensor`, `meta` and, for a mean, `cumulated_batch_size`.
    """
    return trainer.fit_loop.epoch_loop._results


def logged_step(trainer: Trainer) -> int:
    """The `step` under which loggers write now. A checkpoint keeps it, since a restart does not find it again."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def set_logged_step(trainer: Trainer, step: int) -> None:
    """Set what `logged_step` reads: a restart from the end of an epoch counts one step too many."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = step


def set_position(trainer: Trainer, checkpoint: Mapping[str, Any]) -> None:
    """Put the steps and epochs of a checkpoint back, which Lightning does for training alone: modules ask for them."""
    trainer.fit_loop.load_state_dict(checkpoint["loops"]["fit_loop"])


def accumulates(trainer: Trainer) -> bool:
    """Whether the batch that just ended was not yet an optimizer step, so that no checkpoint of it would be exact."""
    return trainer.fit_loop._should_accumulate()


def validation_is_due(trainer: Trainer) -> bool:
    """Whether a validation follows the batch that just ended: a checkpoint waits for it."""
    loop = trainer.fit_loop
    fetcher = loop._data_fetcher
    return fetcher is not None and loop.epoch_loop._should_check_val_fx(fetcher)


def close_epoch(trainer: Trainer) -> None:
    """Let a restarted loop go on with a new epoch, as it would have done without the stop.

    With `max_steps` Lightning takes every checkpoint for one in the middle of an epoch. From the end of an epoch it
    then fetches one more batch for that epoch unless a validation was due at its last step, and runs the hooks of the
    epoch's end a second time. With `max_epochs` alone it does what is right.
    """
    loop = trainer.fit_loop
    if loop.restarting:
        loop.epoch_progress.increment_completed()
        loop._restarting = False  # its setter keeps True where there is max_steps
        loop.epoch_loop.restarting = False
        loop.reset_restart_stage()
        loop.epoch_loop.reset_restart_stage()


def has_more_batches(trainer: Trainer) -> bool:
    """Whether the epoch of a restored loop has batches that were not taken yet."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.ready < trainer.num_training_batches


def reopen_epoch(trainer: Trainer) -> None:
    """Let a loop that was restored from the end of an epoch go on in its middle, since the epoch has more batches."""
    loop = trainer.fit_loop
    for counted in (loop.epoch_progress.current, loop.epoch_progress.total):
        counted.processed -= 1  # pyright: ignore[reportAttributeAccessIssue]
    loop.epoch_loop.batch_progress.is_last_batch = False
    loop.update_restart_stage()
