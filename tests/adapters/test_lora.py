"""LoRA in the transformer: the identity at first, adapters alone trained and stored, loaded, merged, taken off."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.adapters import (
    TARGETS,
    AdapterLayout,
    LoRA,
    adapter_state,
    adapters_disabled,
    add_lora,
    load_adapter_state,
    load_lora,
    merge_lora,
    save_lora,
)
from omnigen2.dit import load_transformer, save_transformer
from omnigen2.generate.tiny import tiny_transformer
from tests.adapters.cases import adapted, train, velocity

loras = st.builds(
    LoRA,
    rank=st.integers(1, 9),
    alpha=st.none() | st.floats(0.5, 20),
    targets=st.lists(st.sampled_from(TARGETS), min_size=1, unique=True).map(tuple),
)


@given(lora=loras)
def test_new_adapters_change_nothing_and_train_alone(lora: LoRA) -> None:
    dit = adapted(lora, trained=False)
    assert torch.equal(velocity(dit), velocity(tiny_transformer()))
    velocity(dit).square().sum().backward()
    trained = {name for name, parameter in dit.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in dit.named_parameters() if parameter.grad is not None}
    assert trained == set(adapter_state(dit))
    assert len(trained) == 2 * 5 * len(lora.targets)
    scalings = {float(part.scaling["default"]) for part in dit.modules() if hasattr(part, "lora_A")}
    assert scalings == {1.0 if lora.alpha is None else lora.alpha / lora.rank}


@given(lora=loras, layout=st.sampled_from(["diffusers", "peft"]))
def test_what_was_saved_and_loaded_is_the_same_change(
    lora: LoRA, layout: AdapterLayout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("adapter")
    dit, again = adapted(lora), tiny_transformer()
    save_lora(dit, folder, layout)
    load_lora(again, folder)
    with torch.no_grad():
        torch.testing.assert_close(velocity(again), velocity(dit))
        assert not torch.allclose(velocity(again), velocity(tiny_transformer()))


@given(lora=loras)
def test_the_adapters_state_is_all_that_was_learned(lora: LoRA) -> None:
    dit, again = adapted(lora), adapted(lora, trained=False)
    load_adapter_state(again, adapter_state(dit))
    assert torch.equal(velocity(again), velocity(dit))


@given(lora=loras)
def test_without_adapters_it_is_the_base_model(lora: LoRA) -> None:
    dit = adapted(lora)
    before, base = velocity(dit), velocity(tiny_transformer())
    trainable = [parameter.requires_grad for parameter in dit.parameters()]
    with adapters_disabled(dit):
        assert torch.equal(velocity(dit), base)
        with adapters_disabled(dit):
            pass
        assert torch.equal(velocity(dit), base)
        assert [parameter.requires_grad for parameter in dit.parameters()] == trainable
    assert torch.equal(velocity(dit), before)


def test_adapters_come_back_after_an_error() -> None:
    dit = adapted(LoRA(2))
    before = velocity(dit)
    with pytest.raises(ArithmeticError), adapters_disabled(dit):
        raise ArithmeticError
    assert torch.equal(velocity(dit), before)


def test_dropout_acts_in_training_only() -> None:
    dit, plain = adapted(LoRA(2, dropout=0.5)), adapted(LoRA(2))
    torch.manual_seed(0)
    assert not torch.equal(velocity(dit), velocity(plain))
    assert torch.equal(velocity(dit.eval()), velocity(plain))


def test_adapters_of_a_half_precision_model_are_float32() -> None:
    dit = tiny_transformer().bfloat16()
    add_lora(dit, LoRA(2))
    assert {parameter.dtype for parameter in dit.parameters() if parameter.requires_grad} == {torch.float32}
    velocity(dit).sum().backward()


@torch.no_grad()
@given(lora=loras)
def test_merging_keeps_the_velocities_and_the_names(lora: LoRA) -> None:
    dit = adapted(lora)
    expected = velocity(dit)
    merge_lora(dit)
    torch.testing.assert_close(velocity(dit), expected, rtol=1e-4, atol=1e-4)
    assert set(dit.state_dict()) == set(tiny_transformer().state_dict())
    merge_lora(dit)
    add_lora(dit, lora)
    torch.testing.assert_close(velocity(dit), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_merged_model_saves_and_loads(tmp_path: Path) -> None:
    dit = adapted()
    merge_lora(dit)
    save_transformer(dit, tmp_path)
    torch.testing.assert_close(velocity(load_transformer(tmp_path)), velocity(dit))


@torch.no_grad()
def test_scale_and_two_adapters_add_up_also_merged(tmp_path: Path) -> None:
    save_lora(adapted(), tmp_path)
    twice, double, none = (tiny_transformer() for _ in range(3))
    load_lora(twice, tmp_path, "first")
    load_lora(twice, tmp_path, "second")
    load_lora(double, tmp_path, scale=2.0)
    load_lora(none, tmp_path, scale=0.0)
    expected = velocity(double)
    torch.testing.assert_close(velocity(twice), expected)
    torch.testing.assert_close(velocity(none), velocity(tiny_transformer()))
    merge_lora(twice)
    torch.testing.assert_close(velocity(twice), expected)


def test_a_half_precision_model_is_merged_with_one_rounding() -> None:
    plain, dit = tiny_transformer().bfloat16(), tiny_transformer().bfloat16()
    add_lora(dit, LoRA(rank=3, targets=("attention.query",)))
    train(dit)
    layer = dit.blocks[0].body.attention.query
    product = layer.lora_B["default"].weight.double() @ layer.lora_A["default"].weight.double()
    merge_lora(dit)
    base = plain.blocks[0].body.attention.query.weight
    assert torch.equal(dit.blocks[0].body.attention.query.weight, (base.double() + product).bfloat16())


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"rank": 0}, "rank must be at least 1, got 0"),
            ({"alpha": 0.0}, "alpha must be positive, got 0.0"),
            ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
            ({"targets": ()}, "targets is empty"),
        ],
    )
    def test_numbers(self, arguments: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            LoRA(**arguments)  # type: ignore[arg-type]

    def test_a_target_that_is_no_layer(self) -> None:
        with pytest.raises(ValueError, match=r"no linear layer's name ends in query_norm, to_q\n  usual ends are"):
            add_lora(tiny_transformer(), LoRA(targets=("attention.query", "query_norm", "to_q")))

    def test_twice(self) -> None:
        with pytest.raises(ValueError, match="has adapters already"):
            add_lora(adapted(LoRA(2)), LoRA(2))

    def test_nothing_to_save(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"has no adapter 'default'\n  add_lora adds one"):
            save_lora(tiny_transformer(), tmp_path)

    def test_broken_numbers(self) -> None:
        dit = adapted()
        dit.blocks[1].body.attention.key.lora_A["default"].weight.data[0, 0] = torch.nan
        with pytest.raises(ValueError, match=r"blocks.1.body.attention.key has weights that are not finite"):
            merge_lora(dit)

    def test_other_adapters(self) -> None:
        state = adapter_state(adapted(LoRA(2, targets=("attention.query",))))
        with pytest.raises(ValueError, match=r"attention.query.lora_A.default.weight has shape \(3, 48\)"):
            load_adapter_state(adapted(LoRA(3, targets=("attention.query",))), state)
        with pytest.raises(ValueError, match="is only in the model .10 such names"):
            load_adapter_state(adapted(LoRA(2, targets=("attention.query", "attention.key"))), state)
        with pytest.raises(ValueError, match="is only in the state .10 such names"):
            load_adapter_state(tiny_transformer(), state)
