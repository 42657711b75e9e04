"""Small weights: how far their products are off, what they leave alone, where they come from, and what is refused."""

import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from omnigen2.dit import DiffusionTransformer, load_transformer, save_transformer
from omnigen2.errors import UserError
from omnigen2.generate.tiny import CONFIG, tiny_transformer
from omnigen2.quantize import (
    PaddedLinear,
    Quantization,
    check_quantization,
    inner_tensors,
    is_quantized,
    quantize,
    stored_bytes,
)
from tests.adapters.cases import velocity

KINDS: list[Quantization] = [kind for kind in get_args(Quantization) if kind != "none"]
KEEP = ("modulation",)
sizes = st.integers(2, 70)


def small(kind: Quantization) -> DiffusionTransformer:
    dit = tiny_transformer()
    quantize(dit, kind, KEEP)
    return dit


def stack(layer: nn.Linear) -> nn.Module:
    """The smallest model with a block."""
    return nn.Sequential(nn.ModuleList([layer]))


@given(inputs=sizes, outputs=sizes, size=st.floats(1e-3, 1e3), seed=st.integers(0, 9))
def test_a_product_in_int8_is_off_by_half_a_step_of_each_weight_at_most(
    inputs: int, outputs: int, size: float, seed: int
) -> None:
    torch.manual_seed(seed)
    layer, x = nn.Linear(inputs, outputs, bias=False), torch.randn(5, inputs)
    layer.weight.data = torch.randn(outputs, inputs) * size
    exact = x.double() @ layer.weight.double().T
    step = layer.weight.detach().double().abs().amax(1) / 127
    model = stack(layer)
    quantize(model, "int8")
    off = (model[0][0](x).double() - exact).abs()  # pyright: ignore
    assert bool((off <= 0.501 * step * x.double().abs().sum(1, keepdim=True)).all())


@given(inputs=sizes, outputs=sizes, multiple=st.integers(1, 20), biased=st.booleans())
def test_the_padded_product_is_the_product(inputs: int, outputs: int, multiple: int, biased: bool) -> None:
    layer = nn.Linear(inputs, outputs, biased).double()
    padded, x = PaddedLinear(layer, multiple), torch.randn(2, 3, inputs, dtype=torch.float64)
    assert all(size % multiple == 0 for size in padded.weight.shape)
    assert (padded.in_features, padded.out_features) == (inputs, outputs)
    torch.testing.assert_close(padded(x), layer(x), rtol=1e-12, atol=1e-12)


def test_in_float8_padding_changes_no_weight() -> None:
    from torchao.quantization import Float8WeightOnlyConfig, quantize_

    torch.manual_seed(0)
    layer = nn.Linear(25, 21)
    model = stack(nn.Linear(25, 21))
    model.load_state_dict({f"0.0.{name}": value for name, value in layer.state_dict().items()})
    quantize(model, "float8")
    quantize_(layer, Float8WeightOnlyConfig(set_inductor_config=False))
    found: Any = model[0][0].weight  # pyright: ignore
    assert tuple(found.shape) == (32, 32)
    assert torch.equal(found.dequantize()[:21, :25], layer.weight.dequantize())  # pyright: ignore


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_outside_of_the_blocks_and_what_is_kept_stays_bit_for_bit(kind: Quantization) -> None:
    before, after = tiny_transformer().state_dict(), inner_tensors(small(kind))
    blocks = ("blocks.", "text_refiner.", "reference_refiner.", "noise_refiner.")
    changed = {
        name
        for name, weight in before.items()
        if name.startswith(blocks) and weight.ndim == 2 and ".modulation." not in name
    }
    assert len(changed) == 7 * 5
    for name, weight in before.items():
        same = after[name].dtype == weight.dtype and torch.equal(after[name], weight)
        assert same == (name not in changed), name


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_near_and_gradients_reach_the_inputs(kind: Quantization) -> None:
    with torch.no_grad():
        plain, found = velocity(tiny_transformer()), velocity(small(kind))
    off = float((found - plain).norm() / plain.norm())
    assert 0 < off < {"int8": 0.02, "float8": 0.1, "nf4": 0.4}[kind]
    model = stack(nn.Linear(32, 48, bias=False))
    x = torch.randn(4, 32, requires_grad=True)
    weight = model[0][0].weight.detach().clone()  # pyright: ignore
    quantize(model, kind)
    model[0][0](x).sum().backward()  # pyright: ignore
    assert x.grad is not None
    torch.testing.assert_close(x.grad, weight.sum(0).expand(4, -1), rtol=0.2, atol=0.2)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_from_a_file_it_is_the_same_as_from_memory(kind: Quantization, dtype: torch.dtype, tmp_path: Path) -> None:
    save_transformer(tiny_transformer(), tmp_path)
    mapped, built = load_transformer(tmp_path), tiny_transformer()
    old: list[Tensor] = []
    quantize(mapped, kind, KEEP, dtype=dtype, done_with=old.extend)
    quantize(built.to(dtype), kind, KEEP)
    first, second = inner_tensors(mapped), inner_tensors(built)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name].view(torch.uint8), second[name].view(torch.uint8)) for name in first)
    assert len(old) == 7 * 5
    assert all(torch.equal(one, one.float()) for one in old)  # still there


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_takes_is_counted_without_weights(kind: Quantization) -> None:
    with torch.device("meta"):
        sizes = DiffusionTransformer(CONFIG)
    quantize(sizes, kind, KEEP, dtype=torch.bfloat16)
    built = tiny_transformer()
    quantize(built, kind, KEEP, dtype=torch.bfloat16)
    tables = 7 * 5 * 1300 if kind == "nf4" else 0  # of the 16 and 256 numbers that each layer's codes stand for
    assert 0 <= stored_bytes(built) - stored_bytes(sizes) <= tables
    assert stored_bytes(sizes) < stored_bytes(tiny_transformer().bfloat16())
    assert sum(one.numel() for one in sizes.parameters()) >= sum(one.numel() for one in tiny_transformer().parameters())


def test_none_only_moves_and_converts() -> None:
    dit = tiny_transformer()
    quantize(dit, "none", KEEP, dtype=torch.bfloat16)
    assert not is_quantized(dit)
    assert all(
        torch.equal(a, b) for a, b in zip(dit.parameters(), tiny_transformer().bfloat16().parameters(), strict=True)
    )


def test_what_cannot_be_done_is_said_in_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^the model is quantised already\n  "):
        quantize(small("int8"), "nf4", KEEP)
    with pytest.raises(UserError, match=r"^no linear layer to quantise in the blocks of a Linear\n  "):
        quantize(nn.Linear(2, 2), "int8")
    with monkeypatch.context() as patch:
        patch.setattr("omnigen2.quantize.layers._small", lambda layer, kind: layer)
        with pytest.raises(UserError, match=r"^0\.0 \(2 to 3 channels\) was not changed to int8\n  "):
            quantize(stack(nn.Linear(2, 3)), "int8")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    with pytest.raises(UserError, match=r"^float8 weights need a GPU of .* 8\.9 or more, cuda:1 has 8\.0\n  take int8"):
        check_quantization("float8", "cuda:1")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with pytest.raises(UserError, match=r"^float8 weights on a GPU work with bfloat16, got torch.float32\n  leave"):
        check_quantization("float8", "cuda", torch.float32)
    check_quantization("float8", "cuda", torch.bfloat16)
    for package, kind in (("torchao", "int8"), ("torchao", "float8"), ("bitsandbytes", "nf4")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(
            UserError, match=rf"^{kind} weights need the package {package}, which is not installed\n  pip"
        ):
            check_quantization(kind)
    check_quantization("none")
