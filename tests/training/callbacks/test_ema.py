"""The average of the weights: closed forms, frozen parameters, swapping, checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from omnigen2.training.callbacks.ema import EMA
from omnigen2.training.parts.loader import StepLoader
from tests.training.rank_parts import silent_trainer

decays = st.floats(0.01, 0.999)


class Regression(LightningModule):
    """Trains `head`; `body` is frozen."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body = nn.Linear(3, 3).requires_grad_(False)
            self.head = nn.Linear(3, 1)
        self.seen: list[Tensor] = []
        self.fails = False

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (self.head(self.body(batch)) - 1).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.seen.append(self.head.weight.detach().clone())
        if self.fails and self.global_step:
            raise ArithmeticError("the validation failed")

    test_step = validation_step
    predict_step = validation_step

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.head.parameters(), lr=0.1)


class Recorder(Callback):
    """Remembers the weights after every optimizer step."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.weights.append(pl_module.head.weight.detach().clone())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == len(self.weights):
            self.weights.append(pl_module.head.weight.detach().clone())


def loader(steps: int = 100) -> StepLoader:
    return StepLoader(lambda step: torch.randn(4, 3, generator=torch.Generator().manual_seed(step)), steps)


def trainer(folder: Path, *callbacks: Callback, max_steps: int = 6, **settings: Any) -> Trainer:
    return silent_trainer(folder, max_steps, *callbacks, **settings)


def averages(ema: EMA) -> dict[str, Tensor]:
    return ema.state_dict()["average"]


class Weights(LightningModule):
    """One parameter."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(value)


@given(decay=decays, value=st.floats(-10, 10), updates=st.integers(1, 30), warm_up=st.booleans())
def test_constant_weights_are_their_own_average(decay: float, value: float, updates: int, warm_up: bool) -> None:
    module, ema = Weights(torch.full((3,), value)), EMA(decay, warm_up=warm_up)
    for _ in range(updates):
        ema.update(module)
    assert torch.equal(averages(ema)["weight"], module.weight)
    assert ema.updates == updates


@given(decay=decays, slope=st.floats(-10, 10), updates=st.integers(1, 50))
def test_linear_weights_have_the_closed_form(decay: float, slope: float, updates: int) -> None:
    """w_n = slope n, a_0 = 0: a_n = slope (n - d (1 - d^n) / (1 - d))."""
    module, ema = Weights(torch.zeros((), dtype=torch.float64)), EMA(decay, warm_up=False)
    ema._begin(module)
    for step in range(1, updates + 1):
        module.weight.data.fill_(slope * step)
        ema.update(module)
    expected = slope * (updates - decay * (1 - decay**updates) / (1 - decay))
    torch.testing.assert_close(averages(ema)["weight"].item(), expected, rtol=1e-9, atol=1e-9)


@given(values=st.lists(st.floats(-10, 10), min_size=2, max_size=10))
def test_the_average_of_the_smallest_decay_is_the_weights(values: list[float]) -> None:
    module, ema = Weights(torch.zeros(1)), EMA(1e-12, warm_up=False)
    for value in values:
        module.weight.data.fill_(value)
        ema.update(module)
    torch.testing.assert_close(averages(ema)["weight"], module.weight.data)


@given(decay=decays, updates=st.integers(0, 10**6))
def test_the_warm_up_rises_to_the_decay(decay: float, updates: int) -> None:
    ema = EMA(decay)
    assert ema.decay_of(0) == min(decay, 0.1)
    assert ema.decay_of(updates) <= ema.decay_of(updates + 1) <= decay
    assert ema.decay_of(10**9) == decay
    assert EMA(decay, warm_up=False).decay_of(updates) == decay


@given(every=st.integers(1, 4), accumulate=st.integers(1, 3), steps=st.integers(1, 7))
def test_training_averages_the_weights_of_every_nth_step(every: int, accumulate: int, steps: int) -> None:
    module, recorder, ema = Regression(), Recorder(), EMA(0.7, every, warm_up=False)
    trainer(Path("."), ema, recorder, max_steps=steps, accumulate_grad_batches=accumulate).fit(module, loader())
    expected = recorder.weights[0]
    for step in range(every, steps + 1, every):
        expected = torch.lerp(expected, recorder.weights[step], 1 - 0.7)
    assert torch.equal(averages(ema)["head.weight"], expected)
    assert len(recorder.weights) == steps + 1


def test_frozen_parameters_are_neither_stored_nor_changed(tmp_path: Path) -> None:
    module, ema = Regression(), EMA(0.5)
    before = module.body.weight.clone()
    trainer(tmp_path, ema).fit(module, loader())
    assert set(averages(ema)) == {"head.weight", "head.bias"}
    with ema.applied(module):
        assert torch.equal(module.body.weight, before)


def test_a_parameter_that_thaws_is_averaged_from_then_on() -> None:
    module, ema = Regression(), EMA(0.5)
    ema.update(module)
    module.body.requires_grad_(True)
    ema.update(module)
    assert torch.equal(averages(ema)["body.weight"], module.body.weight)


@given(dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]), seed=st.integers(0, 100))
def test_applying_and_leaving_is_the_identity(dtype: torch.dtype, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    module, ema = Weights(torch.randn(5, generator=generator).to(dtype)), EMA(0.5)
    ema.update(module)
    module.weight.data.copy_(torch.randn(5, generator=generator))
    ema.update(module)
    weights, average = module.weight.detach().clone(), averages(ema)["weight"]
    assert average.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    with ema.applied(module), ema.applied(module):
        assert torch.equal(module.weight, average.to(dtype))
    assert torch.equal(module.weight, weights)
    assert torch.equal(averages(ema)["weight"], average)


def test_validation_test_and_prediction_see_the_average(tmp_path: Path) -> None:
    module, ema = Regression(), EMA(0.9)
    fitting = trainer(tmp_path, ema, val_check_interval=6, num_sanity_val_steps=2)
    fitting.fit(module, loader(), loader(1))
    average, weights = averages(ema)["head.weight"], module.head.weight.detach().clone()
    assert not torch.equal(average, weights)
    fitting.test(module, loader(1), verbose=False)
    fitting.validate(module, loader(1), verbose=False)
    fitting.predict(module, loader(1))
    sanity, *after = module.seen
    assert torch.equal(sanity, Regression().head.weight)
    assert len(after) == 4
    assert all(torch.equal(seen, average) for seen in after)
    assert torch.equal(module.head.weight, weights)
    assert torch.equal(averages(ema)["head.weight"], average)


def test_training_is_the_same_with_and_without_it(tmp_path: Path) -> None:
    plain, averaged = Regression(), Regression()
    trainer(tmp_path, val_check_interval=2).fit(plain, loader(), loader(1))
    trainer(tmp_path, EMA(0.9), val_check_interval=2).fit(averaged, loader(), loader(1))
    assert torch.equal(plain.head.weight, averaged.head.weight)


def test_weights_come_back_when_the_validation_fails(tmp_path: Path) -> None:
    module, recorder = Regression(), Recorder()
    module.fails = True
    with pytest.raises(ArithmeticError):
        trainer(tmp_path, EMA(0.9), recorder, val_check_interval=3).fit(module, loader(), loader(1))
    assert torch.equal(module.head.weight, recorder.weights[3])
    assert not torch.equal(module.seen[-1], module.head.weight)


def checkpointed(folder: Path, every: int) -> ModelCheckpoint:
    return ModelCheckpoint(folder, every_n_train_steps=every, save_top_k=-1, filename="{step}")


@given(cut=st.integers(1, 6), every=st.integers(1, 3))
def test_resumed_equals_uninterrupted(cut: int, every: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("run")
    whole, ema = Regression(), EMA(0.9, every)
    trainer(folder, ema, checkpointed(folder, 1), max_steps=7, enable_checkpointing=True).fit(whole, loader())
    resumed, again = Regression(), EMA(0.9, every)
    trainer(folder, again, max_steps=7).fit(resumed, loader(), ckpt_path=folder / f"step={cut}.ckpt", weights_only=True)
    assert ema.updates == again.updates == 7 // every
    assert torch.equal(whole.head.weight, resumed.head.weight)
    for name, average in averages(ema).items():
        assert torch.equal(averages(again)[name], average)


def test_a_checkpoint_is_tested_with_its_own_average(tmp_path: Path) -> None:
    module, ema = Regression(), EMA(0.9)
    trainer(tmp_path, ema, checkpointed(tmp_path, 3), enable_checkpointing=True).fit(module, loader())
    stored = torch.load(tmp_path / "step=3.ckpt", weights_only=True)["callbacks"]["EMA"]["average"]
    fresh, old, last = EMA(0.1), Regression(), averages(ema)["head.weight"]
    trainer(tmp_path, fresh).test(old, loader(1), ckpt_path=tmp_path / "step=3.ckpt", weights_only=True, verbose=False)
    assert torch.equal(old.seen[0], stored["head.weight"])
    assert not torch.equal(old.seen[0], last)
    with EMA(0.1).applied(old):  # it has averaged nothing
        assert not torch.equal(old.head.weight, stored["head.weight"])
    exporter = EMA()
    exporter.load_state_dict({"updates": 3, "average": stored})
    with exporter.applied(old):
        assert torch.equal(old.head.weight, stored["head.weight"])


def test_without_an_average_in_the_checkpoint_it_starts_at_the_loaded_weights(tmp_path: Path) -> None:
    plain = Regression()
    trainer(tmp_path, checkpointed(tmp_path, 6), enable_checkpointing=True).fit(plain, loader())
    for path in (tmp_path / "step=6.ckpt", None):
        resumed, ema = Regression(), EMA(0.9, update_every_n_steps=100)
        if path is None:
            resumed.load_state_dict(plain.state_dict())
        trainer(tmp_path, ema, max_steps=8).fit(resumed, loader(), ckpt_path=path)
        assert torch.equal(averages(ema)["head.weight"], plain.head.weight)


def test_a_second_fit_starts_anew(tmp_path: Path) -> None:
    ema = EMA(0.9, update_every_n_steps=100)
    trainer(tmp_path, ema).fit(Regression(), loader())
    module = Regression()
    module.head.weight.data.zero_()
    trainer(tmp_path, ema).fit(module, loader())
    assert not averages(ema)["head.weight"].any()


class SavesInValidation(Callback):
    """Saves where it must not."""

    def on_validation_batch_end(self, trainer: Trainer, *arguments: Any, **keywords: Any) -> None:
        trainer.save_checkpoint("unused.ckpt")


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_wrong_numbers_are_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=f"decay must be between 0 and 1, both excluded, got {decay}"):
        EMA(decay)
    with pytest.raises(ValueError, match="update_every_n_steps must be at least 1, got 0"):
        EMA(update_every_n_steps=0)


@pytest.mark.parametrize(
    ("average", "message"),
    [
        ({"head.other": torch.zeros(2)}, r"average of head.other with shape \(2,\), the module has no such"),
        ({"head.bias": torch.zeros(2)}, r"average of head.bias with shape \(2,\), the module has shape \(1,\)"),
    ],
)
def test_another_model_is_refused(average: dict[str, Tensor], message: str) -> None:
    ema = EMA()
    ema.load_state_dict({"updates": 1, "average": average})
    with pytest.raises(ValueError, match=message):
        ema.update(Regression())


def test_saving_averaged_weights_as_trained_ones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="while the averaged weights are in place"):
        trainer(tmp_path, EMA(), SavesInValidation(), val_check_interval=3).fit(Regression(), loader(), loader(1))
