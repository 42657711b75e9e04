"""What is used of Lightning behind its public names does what we use it for: one loud test for each function.

If one of these fails after an upgrade of Lightning, `omnigen2/runner/keep/lightning_private.py` says what it is for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.strategies import ModelParallelStrategy

from omnigen2.runner.keep import lightning_private as private
from omnigen2.runner.keep.metrics import CsvLogger, read_metrics
from omnigen2.runner.plan import parse
from tests.runner.recipes import PLAIN, write
from tests.runner.toy_parts import Data, EpochNet


class Probe(Callback):
    """Notes what a function says at the end of every batch, and does something at the first start of one."""

    def __init__(self, ask: Callable[[Trainer], Any], do: Callable[[Trainer], None] | None = None) -> None:
        self.ask, self.do = ask, do
        self.said: list[Any] = []
        self.epochs_ended = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.do is not None and not self.said:
            self.do(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.said.append(self.ask(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs_ended += 1


def train(
    folder: Path,
    *callbacks: Callback,
    steps: int = 6,
    checkpoint: Path | None = None,
    batches: int = 6,
    **settings: Any,
) -> None:
    """Train a toy, six batches an epoch if nothing else is said."""
    trainer = Trainer(
        accelerator="cpu", logger=CsvLogger(folder), callbacks=list(callbacks), max_steps=steps, log_every_n_steps=1,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, **settings,
    )  # fmt: skip
    trainer.fit(EpochNet(), datamodule=Data(steps=batches), ckpt_path=checkpoint, weights_only=True)


def test_seeds_later(tmp_path: Path) -> None:
    assert hasattr(LightningCLI, "_set_seed")
    before = torch.get_rng_state()
    parse([f"--config={write(tmp_path / 'recipe.yaml', PLAIN)}"])
    assert torch.equal(torch.get_rng_state(), before), "parsing a recipe has set the seed"


def test_trainer_of() -> None:
    module, trainer = EpochNet(), Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert private.trainer_of(module) is None
    module.trainer = trainer
    assert private.trainer_of(module) is trainer


@pytest.mark.parametrize("folders", [True, False])
def test_saves_folders(folders: bool) -> None:
    assert private.saves_folders(ModelParallelStrategy(save_distributed_checkpoint=folders)) == folders
    assert not private.saves_folders(None)


def test_attach() -> None:
    trainer, model, data = Trainer(accelerator="cpu", logger=False, max_epochs=2, barebones=True), EpochNet(), Data()
    private.attach(trainer, model, data)
    assert trainer.datamodule is data  # type: ignore[attr-defined]
    assert model.trainer.estimated_stepping_batches == 2 * data.steps


@pytest.mark.parametrize(("settings", "steps"), [({"every_n_train_steps": 4}, 4), ({"every_n_epochs": 1}, 0)])
def test_steps_between_checkpoints(settings: dict[str, int], steps: int) -> None:
    assert private.steps_between_checkpoints(ModelCheckpoint(**settings)) == steps


def test_epoch_results(tmp_path: Path) -> None:
    def gathered(trainer: Trainer) -> dict[str, tuple[float, ...]]:
        found: dict[str, tuple[float, ...]] = {}
        for metric in private.epoch_results(trainer).values():
            if metric.is_tensor and metric.meta.on_epoch and metric.update_called:
                kind = metric.meta.is_mean_reduction, metric.meta.is_max_reduction, metric.meta.is_min_reduction
                count = int(metric.cumulated_batch_size) if metric.meta.is_mean_reduction else 0
                found[metric.meta.forked_name(on_step=False)] = (*kind, float(metric.value), count)
        return found

    probe = Probe(gathered)
    train(tmp_path, probe, limit_val_batches=0)
    losses = [row["loss"] for row in read_metrics(tmp_path) if "loss" in row]
    assert probe.said[4] == {
        "epoch/mean_epoch": (True, False, False, pytest.approx(4 * sum(losses[:5])), 20),
        "epoch/max": (False, True, False, pytest.approx(max(losses[:5])), 0),
        "epoch/sum": (False, False, False, pytest.approx(losses[0] + losses[3]), 0),
    }


def test_logged_step_and_set_logged_step(tmp_path: Path) -> None:
    probe = Probe(private.logged_step, lambda trainer: private.set_logged_step(trainer, 100))
    train(tmp_path, probe, limit_val_batches=0)
    assert probe.said == [100, 101, 102, 103, 104, 105]
    assert [row["step"] for row in read_metrics(tmp_path) if "loss" in row] == probe.said


@pytest.mark.parametrize("put_back", [True, False])
def test_set_position(put_back: bool, tmp_path: Path) -> None:
    class Reads(Callback):
        step = -1

        def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
            if put_back:
                private.set_position(trainer, checkpoint)

        def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.step = trainer.global_step

    class Save(Callback):
        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.save_checkpoint(tmp_path / "end.ckpt")

    train(tmp_path, Save(), steps=4)
    reads = Reads()
    made = Trainer(
        accelerator="cpu", logger=False, callbacks=[reads], enable_progress_bar=False, enable_checkpointing=False
    )
    made.validate(EpochNet(), datamodule=Data(), ckpt_path=tmp_path / "end.ckpt", weights_only=True, verbose=False)
    assert reads.step == (4 if put_back else 0), "Lightning does it right now: set_position can go"


def test_accumulates(tmp_path: Path) -> None:
    probe = Probe(private.accumulates)
    train(tmp_path, probe, steps=2, accumulate_grad_batches=4)
    assert probe.said == [True, True, True, False, True, False]  # the last batch of an epoch is a step in any case


def test_validation_is_due(tmp_path: Path) -> None:
    probe = Probe(private.validation_is_due)
    train(tmp_path, probe, val_check_interval=2)
    assert probe.said == [False, True] * 3


@pytest.mark.parametrize("reopened", [True, False])
def test_has_more_batches_and_reopen_epoch(reopened: bool, tmp_path: Path) -> None:
    class Reopen(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            assert private.has_more_batches(trainer)
            private.reopen_epoch(trainer)

    class Save(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.save_checkpoint(tmp_path / "end.ckpt")

    train(tmp_path, Save(), val_check_interval=3)
    probe = Probe(lambda trainer: (trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx))
    again = [probe, Reopen()] if reopened else [probe]
    train(tmp_path, *again, steps=9, checkpoint=tmp_path / "end.ckpt", batches=9, val_check_interval=3)
    if reopened:
        assert (probe.said, probe.epochs_ended) == ([(0, 6), (0, 7), (0, 8)], 1)
    else:
        assert (probe.said, probe.epochs_ended) != ([(0, 6), (0, 7), (0, 8)], 1), "reopen_epoch can go"


@pytest.mark.parametrize("closed", [True, False])
def test_close_epoch(closed: bool, tmp_path: Path) -> None:
    class Close(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            private.close_epoch(trainer)
            assert not trainer.fit_loop.restarting

    class Save(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.save_checkpoint(tmp_path / "end.ckpt")

    train(tmp_path, Save(), limit_val_batches=0)
    probe = Probe(lambda trainer: trainer.current_epoch)
    again = [probe, Close()] if closed else [probe]
    train(tmp_path, *again, steps=12, checkpoint=tmp_path / "end.ckpt", limit_val_batches=0)
    if closed:
        assert (probe.said, probe.epochs_ended) == ([1] * 6, 1)
    else:
        assert (probe.said, probe.epochs_ended) != ([1] * 6, 1), "Lightning does it right now: close_epoch can go"
