"""A loss that is not a number stops the run before it reaches the weights or a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from omnigen2.errors import UserError
from omnigen2.files.text import read_json
from omnigen2.training.callbacks.guards import NonFiniteError, NonFiniteGuard, describe_batch
from omnigen2.training.parts.loader import StepLoader
from tests.training.callbacks.parts import Line
from tests.training.rank_parts import silent_trainer


@dataclass
class Example:
    key: str
    source: str = "photos"
    task: str = "edit"


@dataclass
class Examples:
    examples: tuple[Example, ...]
    x: Tensor


class Net(Line):
    """Its loss or its gradient is spoilt at one batch."""

    def __init__(self, bad: int, where: Literal["loss", "gradient"], value: float = float("nan")) -> None:
        super().__init__()
        self.bad = bad
        self.where = where
        self.value = value

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch.x, batch_idx)
        if batch_idx == self.bad and self.where == "loss":
            loss = loss * self.value
        return loss

    def on_after_backward(self) -> None:
        if self.trainer.fit_loop.epoch_loop.batch_idx == self.bad and self.where == "gradient":
            self.linear.weight.grad[0, 1] = self.value  # type: ignore[index]


class Weights(Callback):
    """Keeps the weights as they were before each batch."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.seen.append(pl_module.linear.weight.detach().clone())  # type: ignore[union-attr]


def batch(step: int) -> Examples:
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(step))
    return Examples(tuple(Example(f"{step}-{i}") for i in range(4)), x)


def fit(module: Net, folder: Path, *callbacks: Callback, **settings: Any) -> Trainer:
    trainer = silent_trainer(folder, -1, *callbacks, max_epochs=1, **settings)
    trainer.fit(module, StepLoader(batch, 6))
    return trainer


@given(st.integers(0, 5), st.sampled_from(["loss", "gradient"]), st.sampled_from([float("nan"), float("inf")]))
def test_the_step_of_a_number_that_is_not_finite_never_reaches_the_weights(
    tmp_path_factory: pytest.TempPathFactory, bad: int, where: Any, value: float
) -> None:
    folder = tmp_path_factory.mktemp("run")
    module, weights = Net(bad, where, value), Weights()
    with pytest.raises(
        NonFiniteError, match=f"at step {bad}, rank 0, batch {bad}: samples photos {bad}-0 edit, .* 1 more"
    ):
        fit(module, folder, weights, NonFiniteGuard())
    assert module.trainer.global_step == bad
    assert torch.equal(module.linear.weight, weights.seen[-1])
    written = read_json(folder / "non_finite" / f"step_{bad}.json") or {}
    assert written["what"] == ("loss" if where == "loss" else "gradient norm")
    assert written["step"] == written["batches"][0]["batch_idx"] == bad
    assert written["rank"] == 0
    assert [sample["key"] for sample in written["batches"][0]["samples"]] == [f"{bad}-{i}" for i in range(4)]


def test_a_healthy_run_is_left_alone(tmp_path: Path) -> None:
    assert fit(Net(-1, "loss"), tmp_path, NonFiniteGuard()).global_step == 6
    assert not (tmp_path / "non_finite").exists()
    assert issubclass(NonFiniteError, UserError), "the command line prints its message alone"


def test_accumulated_gradients_name_all_their_batches(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"gradient norm is nan at step 1, rank 0, batch 2, 3: samples photos 2-0"):
        fit(Net(2, "gradient"), tmp_path, NonFiniteGuard(), accumulate_grad_batches=2)


def test_gradients_are_checked_only_on_request(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="the loss is nan at step 3"):
        fit(Net(2, "gradient"), tmp_path, NonFiniteGuard(gradients=False))


class OnDevice(NonFiniteGuard):
    """Believes that it is not on the CPU: tensors of a device are stood in for by ones that say so."""

    def _see(self, trainer: Trainer, what: str, value: Tensor, batches: Any) -> None:
        class Elsewhere(Tensor):
            device = torch.device("meta")

            def float(self) -> Tensor:
                return value.float()

        super()._see(trainer, what, value.as_subclass(Elsewhere), batches)


@pytest.mark.parametrize(("every", "stops"), [(1, 2), (4, 3), (100, 5)])
def test_a_device_is_looked_at_every_few_batches(every: int, stops: int, tmp_path: Path) -> None:
    module = Net(2, "loss")
    with pytest.raises(NonFiniteError, match="the loss is nan at step 2, rank 0, batch 2: samples photos 2-0 edit"):
        fit(module, tmp_path, OnDevice(every_n_batches=every))
    assert module.trainer.fit_loop.epoch_loop.batch_idx == stops


def test_no_checkpoint_has_spoilt_weights(tmp_path: Path) -> None:
    class Save(Callback):
        def on_train_batch_end(self, trainer: Trainer, *rest: Any) -> None:
            trainer.save_checkpoint(tmp_path / f"{trainer.global_step}.ckpt")

    with pytest.raises(NonFiniteError, match="at step 2"):
        fit(Net(2, "loss"), tmp_path, Save(), OnDevice(every_n_batches=100))
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["1.ckpt", "2.ckpt"]


def test_batches_are_described_without_their_numbers() -> None:
    assert describe_batch({"keys": ["a", "b"], "x": 1}) == {"samples": [{"key": "a"}, {"key": "b"}]}
    many = [torch.ones(2, 3), {"t": torch.ones(1, dtype=torch.long), "n": 3}, "words", *range(9)]
    assert describe_batch(many) == {"batch": "list(float32[2, 3], dict(t: int64[1], n: 3), 'words', 0, 1, 2, 3, 4, …)"}
    assert describe_batch(object()) == {"batch": "object"}
    assert describe_batch({"x": torch.ones(2)}) == {"batch": "dict(x: float32[2])"}


def test_a_wrong_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="every_n_batches must be at least 1, got 0"):
        NonFiniteGuard(every_n_batches=0)


@pytest.mark.parametrize(("samples", "more"), [(2, ""), (3, ""), (4, " and 1 more")])
def test_as_many_samples_as_are_named_are_not_counted_once_more(samples: int, more: str, tmp_path: Path) -> None:
    def few(step: int) -> Examples:
        return Examples(tuple(Example(f"{step}-{i}") for i in range(samples)), torch.ones(2, 3))

    trainer = silent_trainer(tmp_path, 1, NonFiniteGuard())
    with pytest.raises(NonFiniteError) as stopped:
        trainer.fit(Net(0, "loss"), StepLoader(few, 1))
    named = ", ".join(f"photos 0-{i} edit" for i in range(min(samples, 3)))
    assert f": samples {named}{more}\n" in str(stopped.value)


def test_what_another_process_has_found_stops_this_one_too(tmp_path: Path) -> None:
    class OneOfTwo(SingleDeviceStrategy):
        def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:  # noqa: A002
            return False

    strategy = OneOfTwo("cpu")
    with pytest.raises(NonFiniteError, match=r"stopped at step 0: another process found .* its file in .*non_finite"):
        fit(Net(-1, "loss"), tmp_path, NonFiniteGuard(), strategy=strategy)
    assert not (tmp_path / "non_finite").exists()
