"""Laws of the rotation."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.layout import Layout, TextSegment
from omnigen2.rope import LuminaPositions, OmniPositions, QwenPositions, RotaryEmbedding, apply_rotation
from omnigen2.rope.rotary import turn_complex, turn_pairs
from tests.strategies import seeds

rotaries = st.tuples(*[st.integers(1, 6).map(lambda half: 2 * half)] * 3).map(RotaryEmbedding)
positions = st.lists(st.tuples(*[st.integers(0, 20_000)] * 3), min_size=1, max_size=8).map(torch.tensor)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


@given(rotaries, positions, seeds)
def test_rotation_keeps_norms(rotary: RotaryEmbedding, ids: torch.Tensor, seed: int) -> None:
    states = normal(seed, len(ids), 2, rotary.head_dim)
    turned = apply_rotation(states, rotary(ids))
    torch.testing.assert_close(turned.norm(dim=-1), states.norm(dim=-1))
    pairs = turned.unflatten(-1, (-1, 2)).norm(dim=-1)
    torch.testing.assert_close(pairs, states.unflatten(-1, (-1, 2)).norm(dim=-1))


@given(rotaries, positions, st.tuples(*[st.integers(0, 5000)] * 3), seeds)
def test_scores_depend_on_differences_only(rotary: RotaryEmbedding, ids: torch.Tensor, shift: tuple, seed: int) -> None:
    query, key = normal(seed, len(ids), 1, rotary.head_dim), normal(seed + 1, len(ids), 1, rotary.head_dim)

    def scores(moved: torch.Tensor) -> torch.Tensor:
        rotation = rotary(moved)
        return apply_rotation(query, rotation)[:, 0] @ apply_rotation(key, rotation)[:, 0].T

    torch.testing.assert_close(scores(ids), scores(ids + torch.tensor(shift)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scheme", [OmniPositions(), QwenPositions(), LuminaPositions()], ids=str)
@given(length=st.integers(1, 40), half=st.integers(1, 6), seed=seeds)
def test_text_alone_is_one_dimensional_rope(scheme, length: int, half: int, seed: int) -> None:
    """With equal axes, every axis is the textbook rotation of its channels by the token's number."""
    axis = 2 * half
    rotation = RotaryEmbedding((axis, axis, axis))(scheme(Layout(((TextSegment(length),),))))
    states = normal(seed, length, 1, 3 * axis)
    turned = apply_rotation(states, rotation).view(length, 3, half, 2)
    for token in range(length):
        for pair in range(half):
            angle = token * 10000 ** (-2 * pair / axis)
            turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            before = states.view(length, 3, half, 2)[token, :, pair]
            torch.testing.assert_close(turned[token, :, pair], before @ turn.T, rtol=1e-4, atol=1e-5)


@given(rotaries, positions, seeds)
def test_rotating_back_is_the_inverse(rotary: RotaryEmbedding, ids: torch.Tensor, seed: int) -> None:
    rotation = rotary(ids)
    states = normal(seed, len(ids), 2, rotary.head_dim)
    back = apply_rotation(apply_rotation(states, rotation), rotation._replace(sin=-rotation.sin))
    torch.testing.assert_close(back, states, rtol=1e-4, atol=1e-5)


@given(st.integers(0, 10**6))
def test_positions_have_no_limit_and_tables_no_float32_angles(position: int) -> None:
    rotation = RotaryEmbedding((40, 40, 40))(torch.tensor([[position, position, position]]))
    exact = [math.cos(position * 10000 ** (-2 * pair / 40)) for pair in range(20)]
    torch.testing.assert_close(
        rotation.cos[0, :20].double(), torch.tensor(exact, dtype=torch.float64), rtol=0, atol=1e-7
    )


def test_bfloat16_models_lose_nothing_at_position_ten_thousand() -> None:
    """Far out, bfloat16 queries turn as exactly as near zero: the error is that of rounding the result."""
    rotary = RotaryEmbedding((40, 40, 40))
    states = normal(0, 64, 4, 120).bfloat16()
    errors = {}
    for start in (0, 10_000):
        ids = torch.arange(start, start + 64)[:, None].expand(-1, 3)
        angle = torch.cat([ids[:, :1].double() * 10000 ** -(torch.arange(0, 40, 2).double() / 40)] * 3, dim=1)
        pairs = torch.view_as_complex(states.double().unflatten(-1, (-1, 2)).contiguous())
        exact = torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)[:, None]).flatten(-2)
        turned = apply_rotation(states, rotary(ids))
        assert turned.dtype == torch.bfloat16
        errors[start] = ((turned.double() - exact).abs() / exact.abs().clamp(min=0.1)).max().item()
    assert errors[10_000] <= 2**-8
    assert errors[10_000] <= 1.1 * errors[0]


@given(rotaries, positions, seeds)
def test_the_turns_of_cpu_and_device_are_one(rotary: RotaryEmbedding, ids: torch.Tensor, seed: int) -> None:
    rotation = rotary(ids)
    states = normal(seed, len(ids), 2, rotary.head_dim)
    torch.testing.assert_close(turn_pairs(states, rotation), turn_complex(states, rotation), rtol=1e-5, atol=1e-6)


@given(rotaries, positions)
def test_take_selects_tokens(rotary: RotaryEmbedding, ids: torch.Tensor) -> None:
    index = torch.arange(len(ids)).flip(0)
    torch.testing.assert_close(rotary(ids).take(index), rotary(ids[index]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("axes", "theta", "message"),
    [
        ((8, 7, 8), 1e4, r"even and at least 2, got \(8, 7, 8\)"),
        ((0, 8, 8), 1e4, r"got \(0, 8, 8\)"),
        ((8, 8, 8), 1.0, "above 1, got 1.0"),
    ],
)
def test_refusals(axes: tuple[int, int, int], theta: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RotaryEmbedding(axes, theta)
