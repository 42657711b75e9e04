"""LoRA in training: the identity at first, adapters alone trained and stored, files that the generator reads."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.adapters import loading as generate_lora
from omnigen2.adapters.file import AdapterLayout
from omnigen2.adapters.lora import (
    TARGETS,
    LoRA,
    adapter_state,
    adapters_disabled,
    add_lora,
    is_adapter,
    load_adapter_state,
    save_lora,
)
from omnigen2.dit import DiffusionTransformer, Inputs
from omnigen2.generate.tiny import CONFIG, tiny_transformer
from omnigen2.layout import ImageSegment, Layout, TextSegment

loras = st.builds(
    LoRA,
    rank=st.integers(1, 9),
    alpha=st.none() | st.floats(0.5, 20),
    targets=st.lists(st.sampled_from(TARGETS), min_size=1, unique=True).map(tuple),
)


def velocity(dit: DiffusionTransformer) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    layout = Layout(((TextSegment(5), ImageSegment(2, 2, "reference"), ImageSegment(2, 3, "target")),))

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    inputs = Inputs(layout, draw(5, CONFIG.text_dim), draw(4, CONFIG.patch_channels))
    return dit(draw(6, CONFIG.patch_channels), torch.tensor([0.4]), inputs)


def adapted(lora: LoRA, trained: bool = True) -> DiffusionTransformer:
    dit = tiny_transformer()
    add_lora(dit, lora)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in dit.named_parameters():
            if trained and is_adapter(name):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return dit


@given(lora=loras)
def test_new_adapters_change_nothing_and_train_alone(lora: LoRA) -> None:
    dit = adapted(lora, trained=False)
    assert torch.equal(velocity(dit), velocity(tiny_transformer()))
    velocity(dit).square().sum().backward()
    trained = {name for name, parameter in dit.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in dit.named_parameters() if parameter.grad is not None}
    assert trained == set(adapter_state(dit))
    assert len(trained) == 2 * 5 * len(lora.targets)


@given(lora=loras, layout=st.sampled_from(["diffusers", "peft"]))
def test_the_generator_reads_what_training_wrote(
    lora: LoRA, layout: AdapterLayout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("adapter")
    dit, again = adapted(lora), tiny_transformer()
    save_lora(dit, folder, layout)
    generate_lora.load_lora(again, folder)
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
        with pytest.raises(ValueError, match="no linear layer's name ends in query_norm, to_q; usual ends are"):
            add_lora(tiny_transformer(), LoRA(targets=("attention.query", "query_norm", "to_q")))

    def test_twice(self) -> None:
        with pytest.raises(ValueError, match="has adapters already"):
            add_lora(adapted(LoRA(2)), LoRA(2))

    def test_nothing_to_save(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="has no adapters; add_lora adds them"):
            save_lora(tiny_transformer(), tmp_path)

    def test_other_adapters(self) -> None:
        state = adapter_state(adapted(LoRA(2, targets=("attention.query",))))
        with pytest.raises(ValueError, match=r"attention.query.lora_A.default.weight has shape \(3, 48\)"):
            load_adapter_state(adapted(LoRA(3, targets=("attention.query",))), state)
        with pytest.raises(ValueError, match="is only in the model .10 such names"):
            load_adapter_state(adapted(LoRA(2, targets=("attention.query", "attention.key"))), state)
        with pytest.raises(ValueError, match="is only in the state .10 such names"):
            load_adapter_state(tiny_transformer(), state)


@given(loras)
def test_adapters_count_alpha_over_rank(lora: LoRA) -> None:
    dit = tiny_transformer()
    add_lora(dit, lora)
    scalings = {float(part.scaling["default"]) for part in dit.modules() if hasattr(part, "lora_A")}
    assert scalings == {1.0 if lora.alpha is None else lora.alpha / lora.rank}
