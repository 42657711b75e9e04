from dataclasses import replace
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from omnigen2.flow.packed import sum_per_sample
from omnigen2.flow.path import interpolate, velocity, velocity_to_score
from omnigen2.flow.schedule import IdentityShift, time_grid
from omnigen2.flow.sde import sample_sde
from omnigen2.flow.transition import (
    CoefficientPreservingNoise,
    ConstantNoise,
    FlowGRPONoise,
    NoiseLevel,
    Transition,
    transition,
)

from .cases import Packed, packed, parity
from .fields import NoNoise

STEPS = packed(low=0.0, high=0.9).map(lambda batch: replace(batch, t=torch.where(batch.t < 0.02, 0, batch.t)))
"""Starts of steps: exactly 0, or far enough from it for the Flow-GRPO level to be a number of ordinary size."""


def step_of(batch: Packed, noise_level: NoiseLevel, length: float = 0.05) -> Transition:
    return transition(batch.noise, batch.data, batch.t, batch.t + length, batch.sample_index, noise_level)


def reduced(values: Tensor, batch: Packed, reduction: Literal["mean", "sum"]) -> Tensor:
    total = sum_per_sample(values, batch.sample_index, len(batch.tokens))
    return total / (torch.tensor(batch.tokens) * values.shape[1]) if reduction == "mean" else total


SDES: list[NoiseLevel] = [FlowGRPONoise(0.7), ConstantNoise(0.3)]
LEVELS: list[NoiseLevel] = [*SDES, CoefficientPreservingNoise(0.6)]
over_levels = pytest.mark.parametrize("noise_level", LEVELS, ids=repr)
over_reductions = pytest.mark.parametrize("reduction", ["mean", "sum"])


@pytest.mark.parametrize("noise_level", SDES, ids=repr)
@given(STEPS)
def test_drift_is_velocity_plus_half_variance_times_score(noise_level: NoiseLevel, batch: Packed) -> None:
    step = step_of(batch, noise_level)
    sigma = noise_level(batch.t, batch.t + 0.05)
    score = velocity_to_score(batch.data, batch.noise, batch.t, batch.sample_index)
    drift = batch.data + (sigma.square() / 2)[batch.sample_index][:, None] * score
    torch.testing.assert_close(step.mean, batch.noise + 0.05 * drift, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(step.std, sigma * 0.05**0.5)


@given(packed(high=0.9), st.floats(0.01, 1), st.floats(0.05, 1))
def test_coefficients_are_preserved(batch: Packed, strength: float, share: float) -> None:
    """The step from t data + (1 - t) noise: the data with its coefficient of t_next, and 1 - t_next of noise in all."""
    t_next = batch.t + share * (1 - batch.t)
    x_t, v = interpolate(batch.noise, batch.data, batch.t, batch.sample_index), velocity(batch.noise, batch.data)
    step = transition(x_t, v, batch.t, t_next, batch.sample_index, CoefficientPreservingNoise(strength))
    cosine = torch.tensor(strength * torch.pi / 2, dtype=torch.float64).cos()
    end = t_next[batch.sample_index][:, None]
    expected = end * batch.data + (1 - end) * cosine * batch.noise
    torch.testing.assert_close(step.mean, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(((1 - t_next) * cosine).square() + step.std.square(), (1 - t_next).square())


def test_few_steps_leave_as_much_noise_as_many() -> None:
    """Data 0 and its exact velocity: the variance at t = 1/2 is 1/4 after any number of steps; an SDE's is not.

    Statistical, fixed seed: 4,000 walks, bound of 5 standard errors.
    """
    index = torch.zeros(4000, dtype=torch.int64)
    start = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = {}
    for level in (CoefficientPreservingNoise(0.7), FlowGRPONoise(0.7)):
        for steps in (2, 10):
            times, generator = time_grid(steps, IdentityShift(), [4000]), torch.Generator().manual_seed(1)
            walk = sample_sde(lambda x, t: -x / (1 - t), start, times, index, level, generator, range(steps // 2))
            found[type(level), steps] = walk.states[steps // 2].var().item()
    for steps in (2, 10):
        assert found[CoefficientPreservingNoise, steps] == pytest.approx(0.25, abs=5 * 0.25 * (2 / 4000) ** 0.5)
    assert found[FlowGRPONoise, 2] > 0.3


def test_the_last_step_has_nothing_to_exchange() -> None:
    times, x = time_grid(3, IdentityShift(), [1]), torch.zeros(1, 1)
    with pytest.raises(ValueError, match=r"the noise level of step 2 is \[0\.0\].*leave the step out of the window"):
        sample_sde(lambda x, t: -x, x, times, torch.tensor([0]), CoefficientPreservingNoise(0.5), torch.Generator())


@given(STEPS)
def test_zero_noise_level_is_the_euler_step_bitwise(batch: Packed) -> None:
    step = step_of(batch, NoNoise())
    dt = ((batch.t + 0.05) - batch.t)[batch.sample_index][:, None]
    assert torch.equal(step.mean, batch.noise + dt * batch.data)
    assert torch.equal(step.sample(torch.Generator()), step.mean)


@over_reductions
@over_levels
@given(STEPS, st.integers(0, 2**31))
def test_log_prob_is_that_of_torch_distributions(
    noise_level: NoiseLevel, reduction: Literal["mean", "sum"], batch: Packed, seed: int
) -> None:
    step = step_of(batch, noise_level)
    x = step.sample(torch.Generator().manual_seed(seed))
    expected = Normal(step.mean, step.std[batch.sample_index][:, None]).log_prob(x)
    torch.testing.assert_close(step.log_prob(x, reduction), reduced(expected, batch, reduction))


@over_reductions
@given(STEPS, packed(low=0.1, high=0.9))
def test_kl_is_that_of_torch_distributions(reduction: Literal["mean", "sum"], batch: Packed, other: Packed) -> None:
    here = step_of(batch, FlowGRPONoise())
    there = Transition(here.mean + 0.1 * batch.data, here.std * (1 + other.t[0]), batch.sample_index)
    wide = batch.sample_index
    expected = kl_divergence(
        Normal(here.mean, here.std[wide][:, None].expand_as(here.mean)),
        Normal(there.mean, there.std[wide][:, None].expand_as(here.mean)),
    )
    torch.testing.assert_close(here.kl(there, reduction), reduced(expected, batch, reduction))


@over_levels
@given(STEPS, st.floats(0.5, 2.0), st.floats(-1, 1))
def test_kl_is_zero_with_itself_and_never_negative(
    noise_level: NoiseLevel, batch: Packed, widen: float, push: float
) -> None:
    step = step_of(batch, noise_level)
    assert (step.kl(step) == 0).all()
    other = Transition(step.mean + push * batch.data, step.std * widen, batch.sample_index)
    assert (step.kl(other) >= 0).all()
    narrow = Transition(step.mean.float(), step.std.float(), batch.sample_index)
    wider = Transition(narrow.mean, narrow.std * (1 + 1e-6 * push), batch.sample_index)
    assert (narrow.kl(wider) >= 0).all()


@given(STEPS, st.integers(0, 2**31))
def test_scoring_again_gives_the_same_number(batch: Packed, seed: int) -> None:
    """The ratio of a policy with itself is exactly 1."""
    step = step_of(batch, FlowGRPONoise())
    x = step.sample(torch.Generator().manual_seed(seed))
    assert torch.equal(step_of(batch, FlowGRPONoise()).log_prob(x), step.log_prob(x))


@given(STEPS)
def test_gradient_of_log_prob_reaches_the_velocity(batch: Packed) -> None:
    v = batch.data.clone().requires_grad_()
    step = transition(batch.noise, v, batch.t, batch.t + 0.05, batch.sample_index, FlowGRPONoise())
    step.log_prob(step.mean.detach() + 0.1).sum().backward()
    assert v.grad is not None
    assert v.grad.isfinite().all()
    assert (v.grad != 0).all()


def test_bfloat16_states_give_float32_steps() -> None:
    batch = torch.zeros(4, dtype=torch.int64)
    t, t_next = torch.tensor([0.2]), torch.tensor([0.3])
    step = transition(torch.randn(4, 2).bfloat16(), torch.randn(4, 2).bfloat16(), t, t_next, batch, FlowGRPONoise())
    assert step.mean.dtype == step.std.dtype == step.log_prob(step.mean).dtype == torch.float32


def test_first_step_variance_does_not_depend_on_the_grid() -> None:
    """What the docstring says of the Flow-GRPO level at t = 0: data of zero mean and velocity minus the noise."""
    for t_next in (1e-1, 1e-3, 1e-5):
        x = torch.ones(1, 1, dtype=torch.float64)
        zero, end = torch.zeros(1, dtype=torch.float64), torch.tensor([t_next], dtype=torch.float64)
        step = transition(x, torch.zeros_like(x), zero, end, torch.tensor([0]), FlowGRPONoise(0.7))
        variance = step.mean.square().item() + step.std.square().item()
        assert variance == pytest.approx(1 + 0.7**4 / 4)


def test_parity_fgrpo_sde() -> None:
    tensors, case, tolerance = parity("fgrpo_sde")
    sigmas, step_index = tensors["inputs.sigmas"].double(), tensors["inputs.step_index"]
    t, t_next = 1 - sigmas[step_index], 1 - sigmas[step_index + 1]
    level = FlowGRPONoise(case["hyperparameters"]["noise_level"])
    index = torch.arange(len(t))
    step = transition(tensors["inputs.sample"], -tensors["inputs.velocity"], t, t_next, index, level)
    torch.testing.assert_close(step.mean, tensors["outputs.mean"], **tolerance)
    torch.testing.assert_close(level(t, t_next).float(), tensors["outputs.std"], **tolerance)
    drawn = step.mean + step.std[:, None, None, None] * tensors["inputs.noise"]
    torch.testing.assert_close(drawn, tensors["outputs.next"], **tolerance)
    torch.testing.assert_close(step.log_prob(tensors["outputs.next"]), tensors["outputs.log_prob"], **tolerance)
    given_next = step.log_prob(tensors["inputs.given_next"])
    torch.testing.assert_close(given_next, tensors["outputs.log_prob_given"], **tolerance)


def test_wrong_inputs_are_refused() -> None:
    x, index = torch.zeros(1, 1), torch.tensor([0])
    for t, t_next in ((0.5, 0.5), (0.5, 0.4), (-0.1, 0.2), (0.5, 1.1)):
        with pytest.raises(ValueError, match=r"0 <= t < t_next <= 1 for every sample, got t \[-?0\.\d+"):
            transition(x, x, torch.tensor([t]), torch.tensor([t_next]), index, FlowGRPONoise())
    with pytest.raises(ValueError, match=r"FlowGRPONoise needs a positive, finite scale, got 0\.0; for steps without"):
        FlowGRPONoise(0.0)
    with pytest.raises(ValueError, match=r"ConstantNoise needs a positive, finite level, got -1\.0"):
        ConstantNoise(-1.0)
    with pytest.raises(ValueError, match=r"CoefficientPreservingNoise needs a strength in \(0, 1\], got 1\.5"):
        CoefficientPreservingNoise(1.5)
