"""Flow training: the gradient does not depend on how a batch is cut, a run on nothing but its seed and its batches."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LambdaCallback
from torch import Tensor

from omnigen2.adapters import LoRA, is_adapter
from omnigen2.data import Batch
from omnigen2.errors import UserError
from omnigen2.generate import Generator
from omnigen2.microworld.runs import MicroTexts, MicroWorld
from omnigen2.runner.keep import WriteWeights
from omnigen2.training.callbacks import EMA, SampleGrid, Throughput
from omnigen2.training.flow_matching import FlowMatchingModule, SettingsError, TextStates
from omnigen2.training.parts import TransformerPart
from tests.training.flow_parts import CONFIG, FixedDraws, Gradients, module, trainer, wake, world


class Parts(MicroWorld):
    """One batch, cut into parts of given sizes."""

    def __init__(self, whole: Batch, sizes: list[int]) -> None:
        super().__init__(16, len(sizes))
        borders = [sum(sizes[:number]) for number in range(len(sizes) + 1)]
        self.parts = [replace(whole, examples=whole.examples[a:b]) for a, b in zip(borders, borders[1:], strict=False)]

    def batch(self, step: int) -> Batch:
        return self.parts[step]


def first_gradients(batch: Batch, sizes: list[int], folder: Path) -> dict[str, Tensor]:
    """The gradients of one step over a batch that is cut into parts."""
    model = wake(module())
    model.__class__ = FixedDraws
    kept = Gradients()
    trainer(folder, 1, kept, accumulate_grad_batches=len(sizes)).fit(model, datamodule=Parts(batch, sizes))
    return kept.found


@settings(max_examples=4, deadline=None)
@given(cuts=st.lists(st.integers(1, 3), min_size=2, max_size=4))
def test_accumulated_parts_of_any_size_give_the_gradient_of_the_whole(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    # pictures of two sizes, so that parts have different numbers of elements
    small, large = world(16, batch_size=2).batch(0), world(32, batch_size=20).batch(1)
    count = sum(cuts)
    mixed = replace(small, examples=(*small.examples, *large.examples)[:count])
    folder = tmp_path_factory.mktemp("parts")
    whole, parts = first_gradients(mixed, [count], folder), first_gradients(mixed, cuts, folder)
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=1e-6, rtol=1e-4)


def fit(folder: Path, steps: int, *callbacks: Callback, seed: int = 0, **parts: Any) -> FlowMatchingModule:
    """Train for some steps."""
    model = module(seed=seed, **parts)
    trainer(folder, steps, *callbacks).fit(model, datamodule=world(steps=steps))
    return model


def start(model: FlowMatchingModule, folder: Path) -> str:
    """What another training can start from."""
    model.save_weights(folder)
    return str(folder)


def weights(model: FlowMatchingModule) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.dit.state_dict().items()}


def test_a_training_depends_on_its_seed_alone(tmp_path: Path) -> None:
    draws = LambdaCallback(on_train_batch_start=lambda *_: torch.randn(7))  # from the global generator
    first, second, other = (weights(fit(tmp_path, 3, *c, seed=s)) for c, s in (((), 0), ((draws,), 0), ((), 1)))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_loss_falls(tmp_path: Path) -> None:
    losses: list[float] = []
    watch = LambdaCallback(on_train_batch_end=lambda trainer, model, outputs, *_: losses.append(float(outputs["loss"])))
    trainer(tmp_path, 40, watch).fit(module(lr=3e-3), datamodule=world(steps=40, batch_size=8))
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_the_weights_of_one_resolution_start_the_next(tmp_path: Path) -> None:
    trained = fit(tmp_path, 2)
    saved = start(trained, tmp_path / "weights")
    for factor in (2, 4):
        following = module(TransformerPart(), factor=factor, weights=saved)
        following.configure_model()
        assert following.dit.config == replace(CONFIG, gate_bias=0.0)
        ours, theirs = weights(following), weights(trained)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_saved_model_draws_what_the_module_draws(tmp_path: Path) -> None:
    ema = EMA(0.5)
    model = fit(tmp_path, 2, ema, saved="model")
    generator = Generator.from_folder(start(model, tmp_path / "weights"))
    with ema.applied(model):
        averaged = weights(model)
    assert all(torch.equal(value, averaged[name]) for name, value in generator.transformer.state_dict().items())
    example = next(e for e in world().validation_batch().examples if e.task == "text_to_image")
    with ema.applied(model):
        picture, second = model.draw([example, example])
        torch.testing.assert_close(model.draw([example], first=1)[0], second)
    assert not torch.allclose(picture, second)
    drawn = generator(example.instruction, height=16, width=16, seed=0, steps=2, text_scale=2.0).images[0]
    seen = torch.tensor(list(drawn.tobytes())).reshape(16, 16, 3).permute(2, 0, 1)
    levels = ((picture + 1) * 127.5).round()
    assert (levels - seen).abs().max() <= 1


def test_a_lora_checkpoint_has_adapters_alone(tmp_path: Path) -> None:
    base = start(fit(tmp_path, 1), tmp_path / "base")
    part = TransformerPart(lora=LoRA(rank=2, layout="comfyui"))
    model, fitted = module(part, weights=base), trainer(tmp_path, 2)
    fitted.fit(model, datamodule=world(steps=2))
    fitted.save_checkpoint(tmp_path / "adapters.ckpt")
    names = torch.load(tmp_path / "adapters.ckpt", weights_only=True)["state_dict"].keys()
    assert names
    assert all(map(is_adapter, names))
    again = module(part, weights=base)
    trainer(tmp_path, 2).fit(again, datamodule=world(steps=2), ckpt_path=tmp_path / "adapters.ckpt", weights_only=True)
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(model).items())
    assert [path.name for path in Path(start(model, tmp_path / "weights")).iterdir()] == ["adapter"]
    assert [path.name for path in (tmp_path / "weights/adapter").iterdir()] == ["comfyui_lora.safetensors"]


def test_a_carried_optimizer_has_the_settings_of_its_own_recipe(tmp_path: Path) -> None:
    fit(tmp_path, 2, WriteWeights(tmp_path), lr=1e-2)
    carried = str(tmp_path / "weights" / "optimizer.safetensors")
    following, more = module(lr=1e-3, optimizer_state=carried), trainer(tmp_path / "more", 1)
    more.fit(following, datamodule=world(steps=1))
    (optimizer,) = more.optimizers
    assert [(group["initial_lr"], group["lr"]) for group in optimizer.param_groups] == [(1e-3, 1e-3)]
    assert {int(state["step"]) for state in optimizer.state.values()} == {3}
    adapters = module(TransformerPart(CONFIG, lora=LoRA(rank=2)), optimizer_state=carried)
    with pytest.raises(ValueError, match=r"optimizer.safetensors is of an optimizer with \d+ parameters, and this"):
        trainer(tmp_path / "other", 1).fit(adapters, datamodule=world(steps=1))


def test_texts_are_read_once_for_each_batch_also_to_count_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    one = TextStates._read
    monkeypatch.setattr(TextStates, "_read", lambda self, keys, seen: read.append(len(keys)) or one(self, keys, seen))
    model, data = module(), world(steps=3)
    model.text_part = replace(model.text_part, remembered=0)
    trainer(tmp_path, 3, Throughput()).fit(model, datamodule=data)
    assert len(read) == 3
    first, second = data.batch(0), data.batch(1)
    counts = [model.batch_tokens(batch) for batch in (first, second, first)]
    assert counts == [model.encoder.layout(batch).tokens for batch in (first, second, first)]
    assert counts[0] != counts[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "bf16-true"}, r"precision is bf16-true, but weights.*; use bf16-mixed"),
        ({"precision": "16-true"}, "use 16-mixed"),
        ({"max_epochs": 1}, r"set trainer.max_steps, not max_epochs"),
    ],
)
def test_trainers_that_do_not_fit_are_refused_as_settings(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        trainer(tmp_path, -1, **settings).fit(module(), datamodule=world())


def test_sheets_without_validation_examples_are_refused_at_the_start(tmp_path: Path) -> None:
    run = trainer(tmp_path, 3, SampleGrid(3))
    with pytest.raises(UserError, match="SampleGrid shows validation examples, and there are none\n  add validation"):
        run.fit(module(), datamodule=world(steps=3))
    assert run.global_step == 0


def test_validation_has_the_same_loss_every_time(tmp_path: Path) -> None:
    model = wake(module())
    runner = trainer(tmp_path, 1, limit_val_batches=None)
    first, second = (runner.validate(model, datamodule=world(), verbose=False)[0]["eval/loss"] for _ in range(2))
    assert first == second > 0


def test_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a config nor weights"):
        module(TransformerPart()).configure_model()
    for folder, there in (("none", "no such folder"), (".", "nothing")):
        message = rf"no transformer/ \(found: {there}\)\s+give the folder `weights` of a finished run"
        with pytest.raises(UserError, match=message):
            module(weights=str(tmp_path / folder)).configure_model()
    model = wake(module())
    wrong = world(32)
    wrong.budget = replace(wrong.budget, resize=replace(wrong.budget.resize, multiple=8))
    with pytest.raises(UserError, match=r"a token is 4 pixels wide here .* planned for 8; set .* to 4"):
        model.encoder(wrong.batch(0))
    batch = world().batch(0)
    nothing = replace(batch, examples=(replace(batch.examples[0], target=None), *batch.examples[1:]))
    with pytest.raises(ValueError, match="1 of 4 examples have no target"):
        model.encoder(nothing)
    with pytest.raises(ValueError, match="has no target, which says how large a picture to draw"):
        model.draw(nothing.examples)
    other = TransformerPart(replace(CONFIG, num_layers=2))
    with pytest.raises(ValueError, match="num_layers 1, expected 2"):
        module(other, weights=start(fit(tmp_path, 1), tmp_path / "w")).configure_model()


def test_new_text_projections_are_whitened_and_loaded_ones_are_not(tmp_path: Path) -> None:
    typical = MicroTexts(rounds=8)

    def features(model: FlowMatchingModule) -> Tensor:
        model.configure_model()
        states = model.text_part.load(torch.device("cpu")).of_texts(typical.texts()).states
        return model.dit.text_embedder(states).detach()

    plain, white = module(), module()
    white.text_part = replace(white.text_part, typical=typical)
    assert features(white).mean(0).abs().max() < 0.05 < features(plain).mean(0).abs().max()
    trainer(tmp_path, 1).fit(plain, datamodule=world(steps=1))
    loaded = module(weights=start(plain, tmp_path / "w"))
    loaded.text_part = replace(loaded.text_part, typical=typical)
    torch.testing.assert_close(features(loaded), features(plain))
