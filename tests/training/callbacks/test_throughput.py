"""Speed is measured on a clock of the test: every part of the time lands where it belongs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.runner.keep.metrics import CsvLogger, read_metrics
from omnigen2.training.callbacks import throughput
from omnigen2.training.callbacks.throughput import Throughput
from omnigen2.training.parts.loader import StepLoader
from tests.training.callbacks.parts import Line
from tests.training.rank_parts import silent_trainer


class Clock:
    """Moves only when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Net(Line):
    """A step takes two seconds, a validation a hundred, a checkpoint fifty."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.clock.now += 2.0
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.clock.now += 100.0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.clock.now += 50.0


class Counted(Net):
    """Can say what its batches are."""

    def batch_samples(self, batch: Tensor) -> int:
        return len(batch)

    def batch_tokens(self, batch: Tensor) -> int:
        return 10 * len(batch)

    def batch_flops(self, batch: Tensor) -> int:
        return 1000 * len(batch)


def fit(folder: Path, monkeypatch: Any, module: type[Net], callback: Throughput, **more: Any) -> list[dict[str, float]]:
    clock = Clock()
    monkeypatch.setattr(throughput, "perf_counter", clock)

    def batch(step: int) -> Tensor:
        clock.now += 0.5
        return torch.ones(4, 3)

    settings = {"max_steps": 12, "log_every_n_steps": 3, "val_check_interval": 100} | more
    trainer = silent_trainer(folder, settings.pop("max_steps"), callback, logger=CsvLogger(folder), **settings)
    trainer.fit(module(clock), StepLoader(batch, 100), StepLoader(batch, 2))
    names = "throughput/"
    return [{k.removeprefix(names): v for k, v in row.items() if k.startswith(names)} for row in read_metrics(folder)]


@given(
    steps=st.integers(1, 12),
    every=st.integers(1, 4),
    accumulate=st.integers(1, 3),
    validate=st.sampled_from([2, 3, 100]),
)
def test_every_second_lands_where_it_belongs(
    tmp_path_factory: pytest.TempPathFactory, steps: int, every: int, accumulate: int, validate: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        rows = fit(
            tmp_path_factory.mktemp("run"), patch, Counted, Throughput(peak_flops=4000.0),
            max_steps=steps, log_every_n_steps=every, accumulate_grad_batches=accumulate, val_check_interval=validate,
        )  # fmt: skip
    rows = [row for row in rows if row]
    assert len(rows) == steps // every
    waits = [batch for batch in range(steps * accumulate) if batch and batch % validate]  # not after a validation
    for number, row in enumerate(rows):
        first, last = number * every * accumulate, (number + 1) * every * accumulate
        waited = 0.5 * sum(first <= batch < last for batch in waits)
        batches = every * accumulate
        seconds = 2.0 * batches + waited
        assert row["data_seconds_per_step"] == pytest.approx(waited / every)
        assert row["seconds_per_step"] == pytest.approx(seconds / every)
        assert row["samples_per_second"] == pytest.approx(4 * batches / seconds)
        assert row["tokens_per_second"] == pytest.approx(40 * batches / seconds)
        assert row["mfu"] == pytest.approx(4000 * batches / seconds / 4000)
        assert 0.01 < row["peak_memory_gib"] < 1000


def test_checkpoints_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Saving(Net):
        def on_train_batch_end(self, *rest: Any) -> None:
            self.trainer.save_checkpoint(tmp_path / "x.ckpt")

    rows = [row for row in fit(tmp_path, monkeypatch, Saving, Throughput(every_n_steps=6)) if row]
    assert [row["seconds_per_step"] for row in rows] == [2.0, 2.0]
    assert [row["data_seconds_per_step"] for row in rows] == [0.0, 0.0]


def test_what_the_module_cannot_say_is_not_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for row in fit(tmp_path, monkeypatch, Net, Throughput(peak_flops=1.0)) if row]
    assert set(rows[0]) == {"seconds_per_step", "data_seconds_per_step", "peak_memory_gib"}


def test_a_cpu_without_a_given_peak_has_no_mfu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for row in fit(tmp_path, monkeypatch, Counted, Throughput()) if row]
    assert "tokens_per_second" in rows[0]
    assert "mfu" not in rows[0]


def test_reports_come_at_their_own_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(tmp_path, monkeypatch, Net, Throughput(every_n_steps=4))
    assert [row["step"] for row in read_metrics(tmp_path)] == [3, 7, 11]


@pytest.mark.parametrize("arguments", [(0, None), (None, 0.0), (None, -1.0)])
def test_wrong_numbers_are_refused(arguments: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match=f"got {arguments[0]} and {arguments[1]}"):
        Throughput(*arguments)
