"""A training that starts from an adapter goes on exactly where that adapter stands, or is refused."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from omnigen2.adapters import ATTENTION, LoRA, adapter_state, save_lora
from omnigen2.errors import UserError
from omnigen2.runner.keep import WriteWeights
from omnigen2.training.flow_matching import FlowMatchingModule
from omnigen2.training.parts import TransformerPart, save_plain_transformer
from tests.training.flow_parts import CONFIG, module, trainer, wake, world
from tests.training.grpo_parts import grpo

LORA = LoRA(rank=2, alpha=6.0, targets=ATTENTION)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model in `base/`, and what a training of its adapters has left in `weights/`."""
    folder = tmp_path_factory.mktemp("adapter")
    save_plain_transformer(wake(module(TransformerPart(CONFIG))).dit, folder / "base")
    model = module(TransformerPart(lora=LORA), weights=str(folder / "base"))
    trainer(folder, 2, WriteWeights(folder / "run")).fit(model, datamodule=world(steps=2))
    (folder / "run" / "weights").rename(folder / "weights")
    return folder


def started(place: Path, lora: LoRA | None) -> FlowMatchingModule:
    adapter = str(place / "weights" / "adapter")
    model = module(TransformerPart(lora=lora), weights=str(place / "base"), adapter=adapter)
    model.configure_model()
    return model


def content(file: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Bytes of all tensors, and the metadata, which safetensors writes in any order."""
    with safe_open(file, "np") as opened:
        return {key: opened.get_tensor(key).tobytes() for key in opened.keys()}, opened.metadata()  # noqa: SIM118


@pytest.mark.parametrize("lora", [None, LORA, LoRA(2, 6.0, 0.25, ATTENTION)])
def test_it_has_the_very_adapters_and_trains_nothing_else(lora: LoRA | None, place: Path) -> None:
    model = started(place, lora)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    found = adapter_state(model)
    assert trained == found.keys()
    assert f"adapter {place}/weights/adapter (rank 2, " in model.starts_from()
    assert any(value.any() for name, value in found.items() if ".lora_B." in name)
    again = save_lora(model.dit, place / "again")
    assert again is not None
    assert content(again) == content(place / "weights" / "adapter" / again.name)
    layers = [part for part in model.modules() if hasattr(part, "lora_dropout")]
    dropouts = {part.p for layer in layers for part in layer.lora_dropout.values() if hasattr(part, "p")}  # type: ignore
    assert dropouts == ({0.25} if lora is not None and lora.dropout else set())


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        (LoRA(3, 6.0, targets=ATTENTION), "has rank 2 and alpha 6 in .*adapter, and rank 3 and alpha 6 in the recipe"),
        (LoRA(2, 2.0, targets=ATTENTION), "has rank 2 and alpha 6 in .*adapter, and rank 2 and alpha 2 in the recipe"),
        (LoRA(2, 6.0), "feed_forward.* is only among the recipe's targets"),
        (LoRA(2, 6.0, targets=ATTENTION[:1]), "attention.* is only in the adapter"),
    ],
)
def test_another_rank_alpha_or_layer_than_the_recipe_says_is_refused(lora: LoRA, words: str, place: Path) -> None:
    with pytest.raises(UserError, match=rf"(?s){words}.*leave model.init_args.transformer.lora out"):
        started(place, lora)


def test_small_alphas_differ_as_large_ones_do(place: Path, tmp_path: Path) -> None:
    model = module(TransformerPart(lora=LoRA(2, 2e-4, targets=ATTENTION)), weights=str(place / "base"))
    model.configure_model()
    assert save_lora(model.dit, tmp_path) is not None
    other = module(
        TransformerPart(lora=LoRA(2, 3e-4, targets=ATTENTION)), weights=str(place / "base"), adapter=str(tmp_path)
    )
    with pytest.raises(UserError, match=r"has rank 2 and alpha 0\.0002 in .* and rank 2 and alpha 0\.0003"):
        other.configure_model()


def test_it_needs_the_weights_that_the_adapter_was_trained_on(place: Path) -> None:
    adapter = str(place / "weights" / "adapter")
    with pytest.raises(UserError, match=r"(?s)from no weights.*set model.init_args.weights"):
        module(TransformerPart(CONFIG), adapter=adapter)
    with pytest.raises(
        UserError, match=r"(?s)have no transformer/.*to go on from its adapter: model.init_args.adapter"
    ):
        module(TransformerPart(), weights=str(place / "weights")).configure_model()


def test_the_optimizer_of_the_adapters_can_be_carried_on(place: Path) -> None:
    adapter, state = str(place / "weights" / "adapter"), str(place / "weights" / "optimizer.safetensors")
    model = module(TransformerPart(), weights=str(place / "base"), adapter=adapter, optimizer_state=state)
    made = trainer(place / "carried", 1, WriteWeights(place / "later"))
    made.fit(model, datamodule=world(steps=1))
    assert {int(entry["step"]) for entry in made.optimizers[0].state.values()} == {3}
    assert {path.name for path in (place / "later" / "weights").iterdir()} == {"adapter", "optimizer.safetensors"}


def test_a_policy_that_starts_from_an_adapter_is_compared_with_that_start(place: Path) -> None:
    adapter = str(place / "weights" / "adapter")
    model = grpo(kl=0.1, part=TransformerPart(), weights=str(place / "base"), adapter=adapter)
    model.configure_model()
    (frozen,) = model._frozen
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    ours, theirs = model.dit.state_dict(), frozen.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
