from typing import Any
from unittest.mock import Mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.flow.elements import CosineMapWeighting, share_of_elements
from omnigen2.flow.objective import FlowLoss, RectifiedFlowObjective
from omnigen2.flow.path import interpolate, velocity
from omnigen2.flow.schedule import IdentityShift, SquareRootShift
from omnigen2.flow.times import LogitNormalTimes, UniformTimes

from .cases import Packed, packed, parity


def make(**options: Any) -> RectifiedFlowObjective:
    return RectifiedFlowObjective(UniformTimes(), IdentityShift(), **options)


def zero(x_t: Tensor, t: Tensor) -> Tensor:
    del t
    return torch.zeros_like(x_t)


def at(batch: Packed, objective: RectifiedFlowObjective | None = None) -> FlowLoss:
    objective = objective or make()
    return objective.at(zero, batch.noise, batch.data, batch.t, batch.sample_index)


@given(packed())
def test_the_true_velocity_has_no_loss(batch: Packed) -> None:
    true = velocity(batch.noise, batch.data)
    out = make().at(lambda x_t, t: true, batch.noise, batch.data, batch.t, batch.sample_index)
    assert out.loss == 0
    assert (out.per_sample == 0).all()


@given(packed())
def test_the_loss_is_the_mean_over_elements(batch: Packed) -> None:
    out = at(batch)
    torch.testing.assert_close(out.loss, velocity(batch.noise, batch.data).square().mean())
    torch.testing.assert_close(out.loss_sum, velocity(batch.noise, batch.data).square().sum())
    counts = torch.tensor(batch.tokens, dtype=torch.float64)
    torch.testing.assert_close((out.per_sample * counts).sum() / counts.sum(), out.loss)


@given(packed())
def test_the_model_sees_the_interpolated_state_and_one_time_per_sample_once(batch: Packed) -> None:
    model = Mock(side_effect=zero)
    make().at(model, batch.noise, batch.data, batch.t, batch.sample_index)
    ((x_t, t),) = (call.args for call in model.call_args_list)
    assert torch.equal(x_t, interpolate(batch.noise, batch.data, batch.t, batch.sample_index))
    assert torch.equal(t, batch.t)


@given(packed(), st.integers(0, 3))
def test_two_accumulated_halves_equal_the_whole_batch(batch: Packed, first_samples: int) -> None:
    first_samples = min(first_samples, len(batch.tokens) - 1)
    weight = torch.full((3,), 0.3, dtype=torch.float64, requires_grad=True)
    objective = make(weighting=CosineMapWeighting())

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        del t
        return x_t * weight

    whole = objective.at(model, batch.noise, batch.data, batch.t, batch.sample_index)
    (whole_gradient,) = torch.autograd.grad(whole.loss, weight)
    parts = [(0, first_samples), (first_samples, len(batch.tokens))]
    parts = [(a, b) for a, b in parts if a < b]
    masks = [(batch.sample_index >= a) & (batch.sample_index < b) for a, b in parts]
    share = share_of_elements([int(mask.sum()) * 3 for mask in masks])
    losses = [
        objective.at(model, batch.noise[mask], batch.data[mask], batch.t[a:b], batch.sample_index[mask] - a, share).loss
        for (a, b), mask in zip(parts, masks, strict=True)
    ]
    mean = torch.stack(losses).mean()
    torch.testing.assert_close(mean, whole.loss)
    torch.testing.assert_close(torch.autograd.grad(mean, weight)[0], whole_gradient)


@given(packed(), st.integers(1, 12))
def test_bins_add_up_to_the_unweighted_loss(batch: Packed, num_bins: int) -> None:
    out = at(batch, make(num_bins=num_bins, weighting=CosineMapWeighting()))
    assert out.bins.squared_error.shape == (num_bins,)
    total = velocity(batch.noise, batch.data).square().sum()
    torch.testing.assert_close(out.bins.squared_error.sum(), total)
    assert out.bins.elements.sum() == batch.data.numel()


def test_bins_hold_their_times() -> None:
    ones, zeros = torch.ones(3, 2), torch.zeros(3, 2)
    out = make(num_bins=4).at(zero, zeros, ones, torch.tensor([0.0, 0.3, 1.0]), torch.arange(3))
    assert out.bins.elements.tolist() == [2, 2, 0, 2]
    assert out.bins.squared_error.tolist() == [2, 2, 0, 2]
    assert out.bins.mean()[2].isnan()


@given(packed())
def test_weights_multiply_each_samples_error(batch: Packed) -> None:
    plain, weighted = at(batch), at(batch, make(weighting=CosineMapWeighting()))
    counts = torch.tensor(batch.tokens, dtype=torch.float64) * 3
    expected = (CosineMapWeighting()(batch.t) * plain.per_sample * counts).sum() / batch.data.numel()
    torch.testing.assert_close(weighted.loss, expected)
    assert torch.equal(plain.per_sample, weighted.per_sample)


@given(st.integers(0, 2**31))
def test_one_seed_gives_one_loss_and_the_shift_moves_the_times(seed: int) -> None:
    data, index, tokens = torch.ones(12, 2), torch.arange(3).repeat_interleave(4), [4, 4, 4]
    plain = make()
    shifted = RectifiedFlowObjective(UniformTimes(), SquareRootShift(side=1.0))
    draws = [
        objective(zero, data, index, tokens, torch.Generator().manual_seed(seed))
        for objective in (plain, plain, shifted)
    ]
    assert torch.equal(draws[0].loss, draws[1].loss)
    torch.testing.assert_close(SquareRootShift(side=1.0)(draws[0].times, tokens), draws[2].times)


def test_noise_is_standard_normal_and_times_are_drawn() -> None:
    """Velocity of zero data is minus the noise: with 40,000 elements its mean square is within 5 standard errors."""
    out = make()(
        zero, torch.zeros(10_000, 4), torch.zeros(10_000, dtype=torch.int64), [10_000], torch.Generator().manual_seed(0)
    )
    assert abs(out.loss.item() - 1) < 5 * (2 / 40_000) ** 0.5


def test_bfloat16_models_and_data_give_a_float32_loss() -> None:
    data = torch.randn(4, 2).bfloat16()
    out = RectifiedFlowObjective(LogitNormalTimes(), IdentityShift())(
        lambda x_t, t: x_t.bfloat16(), data, torch.zeros(4, dtype=torch.int64), [4], torch.Generator().manual_seed(0)
    )
    assert out.loss.dtype == torch.float32
    assert out.per_sample.dtype == torch.float32


def test_parity_flow_loss() -> None:
    tensors, case, tolerance = parity("flow_loss")
    noise, data, predicted = (
        torch.cat([tensors[f"inputs.{name}.{i}"].flatten(1).T for i in range(3)])
        for name in ("noise", "data", "prediction")
    )
    tokens = [tensors[f"inputs.data.{i}"][0].numel() for i in range(3)]
    index = torch.repeat_interleave(torch.arange(3), torch.tensor(tokens))
    states: list[Tensor] = []

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        del t
        states.append(x_t)
        return predicted

    t = tensors["inputs.t"]
    out = make().at(model, noise, data, t, index)
    expected = torch.cat([tensors[f"outputs.xt.{i}"].flatten(1).T for i in range(3)])
    torch.testing.assert_close(states[0], expected, **tolerance)
    torch.testing.assert_close(out.per_sample, tensors["outputs.loss_mean"], **tolerance)
    torch.testing.assert_close(out.loss_sum, tensors["outputs.loss_sum"].sum(), **tolerance)
    for value in case["values"].values():
        share = value["num_tokens_in_batch"] / (value["num_steps"] * value["num_processes"])
        loss = make().at(model, noise, data, t, index, share).loss
        torch.testing.assert_close(loss, torch.tensor(value["loss"]), **tolerance)


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        make(num_bins=0)
    data, index, generator = torch.ones(3, 2), torch.zeros(3, dtype=torch.int64), torch.Generator()
    with pytest.raises(ValueError, match=r"model returned a velocity of shape \(1, 2\) for a state of shape \(3, 2\)"):
        make()(lambda x_t, t: x_t[:1], data, index, [3], generator)
