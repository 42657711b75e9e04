"""What happens beside training leaves no trace in it, whether it ends well or not."""

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from omnigen2.training.callbacks import EMA, Throughput, beside_training
from omnigen2.training.parts import StepLoader


class Net(LightningModule):
    """A linear layer with a dropout that is used, and one that was switched off for good."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.parts = nn.ModuleDict({"linear": nn.Linear(3, 1), "used": nn.Dropout(0.5), "off": nn.Dropout(0.5).eval()})

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.parts["used"](self.parts["linear"](batch)).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Intruder(Callback):
    """Draws, or fails to, after every step, and keeps what training was like before, inside and after."""

    def __init__(self, fails: bool, spent: list[float]) -> None:
        self.fails = fails
        self.spent = spent
        self.seen: list[tuple[Any, Any, Any]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        before = state_of(pl_module)
        with suppress(ArithmeticError), beside_training(trainer, pl_module):
            torch.rand(2), np.random.rand(2), random.random()
            inside = [*state_of(pl_module), torch.is_grad_enabled()]
            self.spent[0] += 1000.0
            if self.fails:
                raise ArithmeticError
        self.seen.append((before, inside, [*state_of(pl_module), torch.is_grad_enabled()]))


def state_of(module: LightningModule) -> list[Any]:
    """Modes, weights and the states of chance."""
    modes = [part.training for part in module.modules()]
    weights = [value.tolist() for value in module.parameters()]
    return [modes, weights, torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]


@given(st.integers(1, 4), st.booleans(), st.booleans(), st.integers(0, 2))
def test_what_happens_beside_training_leaves_no_trace(
    tmp_path_factory: pytest.TempPathFactory, steps: int, fails: bool, averaged: bool, place: int
) -> None:
    spent, reports = [0.0], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omnigen2.training.callbacks.throughput.perf_counter", lambda: spent[0])
        patch.setattr("omnigen2.training.callbacks.throughput.log_now", lambda _, numbers: reports.append(numbers))
        intruder, module = Intruder(fails, spent), Net()
        callbacks: list[Callback] = [Throughput(every_n_steps=1), *([EMA(decay=0.9)] if averaged else [])]
        callbacks.insert(place, intruder)
        fit(tmp_path_factory.mktemp("run"), callbacks, module, steps)
    assert len(intruder.seen) == steps
    for before, inside, after in intruder.seen:
        assert after == [*before, True]
        assert not any(inside[0])
        assert not inside[-1]
        assert (inside[1] != before[1]) == averaged
    assert [report["throughput/seconds_per_step"] for report in reports] == [0.0] * steps
    assert [part.training for part in module.parts.values()] == [True, True, False]


def fit(folder: Path, callbacks: list[Callback], module: Net, steps: int) -> None:
    trainer = Trainer(
        accelerator="cpu", max_steps=steps, default_root_dir=folder, enable_checkpointing=False, logger=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=callbacks,
    )  # fmt: skip
    trainer.fit(module, StepLoader(lambda step: torch.ones(4, 3), 100))
