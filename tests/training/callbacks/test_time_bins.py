"""The loss by time is the mean over all elements since the last report, however they were batched."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from omnigen2.flow.objective import TimeBins, bin_by_time
from omnigen2.runner.keep.metrics import CsvLogger, read_metrics
from omnigen2.training.callbacks.time_bins import LossByTime, bin_names
from omnigen2.training.parts.loader import StepLoader
from tests.training.callbacks.parts import Line
from tests.training.rank_parts import silent_trainer

BINS = 4


def batch(step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Summed errors, element counts and times of a few samples."""
    generator = torch.Generator().manual_seed(step)
    counts = torch.randint(1, 50, (3,), generator=generator).float()
    return counts * torch.rand(3, generator=generator), counts, torch.rand(3, generator=generator)


class Net(Line):
    """Its loss does not matter; its bins do."""

    time_bins: TimeBins | None = None

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.time_bins = bin_by_time(*batch, BINS)
        return super().training_step(torch.ones(1, 3), batch_idx)


def fit(folder: Path, steps: int, module: LightningModule | None = None, resume: Any = None, **more: Any) -> Trainer:
    trainer = silent_trainer(folder, steps, LossByTime(), logger=CsvLogger(folder), log_every_n_steps=3, **more)
    trainer.fit(module or Net(), StepLoader(batch, 100), ckpt_path=resume, weights_only=True)
    return trainer


def expected(batches: range) -> dict[str, float]:
    errors, counts, times = (torch.cat(parts) for parts in zip(*map(batch, batches), strict=True))
    bins = bin_by_time(errors.double(), counts.double(), times, BINS)
    means = zip(bin_names(BINS), bins.mean().tolist(), strict=True)
    return {f"loss/t_{name}": value for name, value in means if value == value}


@given(accumulate=st.integers(1, 3), steps=st.integers(1, 10))
def test_reports_are_means_over_all_elements_since_the_last(
    tmp_path_factory: pytest.TempPathFactory, accumulate: int, steps: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    fit(folder, steps, accumulate_grad_batches=accumulate)
    rows = read_metrics(folder)
    assert [row.pop("step") for row in rows] == list(range(2, steps, 3))
    for number, row in enumerate(rows):
        span = 3 * accumulate
        assert row == pytest.approx(expected(range(number * span, (number + 1) * span)))


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_a_continued_run_reports_the_same(stop: int, tmp_path: Path) -> None:
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    fit(tmp_path / "whole", 9)
    fit(tmp_path / "parts", stop).save_checkpoint(tmp_path / "x.ckpt")
    fit(tmp_path / "parts", 9, resume=tmp_path / "x.ckpt")
    assert read_metrics(tmp_path / "parts") == read_metrics(tmp_path / "whole")


@given(st.integers(1, 200))
def test_bins_have_different_names_that_join(num_bins: int) -> None:
    names = bin_names(num_bins)
    assert len(set(names)) == num_bins
    assert names[0].startswith("0.0")
    assert float(names[-1].split("-")[1]) == 1
    assert all(a.split("-")[1] == b.split("-")[0] for a, b in zip(names, names[1:], strict=False))


def test_ten_bins_are_named_by_tenths() -> None:
    assert bin_names(10)[:2] == ["0.0-0.1", "0.1-0.2"]
    assert bin_names(4) == ["0.00-0.25", "0.25-0.50", "0.50-0.75", "0.75-1.00"]


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        TypeError, match="needs a module with the attribute `time_bins`, got Line; set self.time_bins ="
    ):
        fit(tmp_path, 1, Line())
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, got 0"):
        LossByTime(every_n_steps=0)
