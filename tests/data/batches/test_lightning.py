"""Lightning restores the loader by itself, in the middle of an epoch, and sanity checks do not disturb it."""

from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from omnigen2.data import Batch, Collate, ConditionDropout, Mixture, Replica
from tests.data.cases import three_tasks


class Recorder(pl.LightningModule):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained: list[list[str]] = []
        self.validated: list[list[str]] = []

    def training_step(self, batch: Batch) -> torch.Tensor:
        self.trained.append([example.key + example.instruction for example in batch.examples])
        return self.weight.sum()

    def validation_step(self, batch: Batch) -> None:
        self.validated.append([example.key for example in batch.examples])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def mixture(steps: int, workers: int, **settings) -> Mixture:
    return Mixture(three_tasks(tokens=300), Collate(ConditionDropout(0.5)), steps, workers, **settings)


def train(folder: Path, steps: int, workers: int, resume: Path | None = None) -> Recorder:
    module = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        callbacks=ModelCheckpoint(folder, every_n_train_steps=5, save_top_k=-1),
        enable_progress_bar=False,
        enable_model_summary=False,
        val_check_interval=4,
        default_root_dir=folder,
    )
    trainer.fit(module, mixture(12, workers), mixture(2, 0, epochs="repeat"), ckpt_path=resume, weights_only=True)
    return module


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0)])
def test_a_run_that_is_stopped_goes_on_with_the_next_batch(tmp_path: Path, before: int, after: int) -> None:
    whole = train(tmp_path / "whole", 12, 0)
    train(tmp_path / "part", 7, before)
    resumed = train(tmp_path / "part", 12, after, tmp_path / "part" / "epoch=0-step=5.ckpt")
    assert resumed.trained == whole.trained[5:]
    assert whole.validated == whole.validated[:2] * (len(whole.validated) // 2)


def test_the_rank_is_found_out_when_the_iteration_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    loader, expected = mixture(3, 0), mixture(3, 0, replica=Replica(1, 2))
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    assert [b.instructions for b in loader] == [b.instructions for b in expected]
