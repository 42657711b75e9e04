from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.flow.guidance import TextGuidance, TextImageGuidance
from omnigen2.flow.ode import EulerSolver
from omnigen2.flow.schedule import IdentityShift, SquareRootShift, time_grid
from omnigen2.flow.sde import sample_sde
from omnigen2.flow.transition import ConstantNoise, FlowGRPONoise, NoiseLevel, transition

from .cases import parity
from .fields import GaussianFlow, NoNoise, gaussian_flow, slope

LEVELS: list[NoiseLevel] = [FlowGRPONoise(0.7), ConstantNoise(0.8)]


def run(steps: int = 6, seed: int = 0, window: range | None = None, dtype: torch.dtype = torch.float32) -> Any:
    flow, noise = gaussian_flow()
    times = time_grid(steps, SquareRootShift(), [64, 1024])
    generator = torch.Generator().manual_seed(seed)
    return sample_sde(flow, noise.to(dtype), times, flow.sample_index, FlowGRPONoise(), generator, window)


def test_an_empty_window_is_the_euler_solver_bitwise() -> None:
    flow, noise = gaussian_flow()
    times = time_grid(6, SquareRootShift(), [64, 1024])
    walk = run(window=range(0), dtype=torch.float64)
    for state, expected in zip(
        walk.states[1:], EulerSolver().states(flow, noise, times, flow.sample_index), strict=True
    ):
        assert torch.equal(state, expected)
    assert walk.log_probs.shape == (0, 2)
    assert walk.stochastic == ()


@given(start=st.integers(0, 5), length=st.integers(0, 6), seed=st.integers(0, 2**31))
def test_steps_outside_the_window_are_euler_steps_bitwise(start: int, length: int, seed: int) -> None:
    window = range(start, min(start + length, 6))
    flow, _ = gaussian_flow()
    walk = run(seed=seed, window=window)
    for k in range(6):
        pair = walk.times[k : k + 2]
        euler = EulerSolver().solve(flow, walk.states[k], pair, flow.sample_index)
        assert torch.equal(walk.states[k + 1], euler) == (k not in window)
    assert walk.stochastic == tuple(window)
    assert walk.log_probs.shape == (len(window), 2)


@given(st.integers(0, 2**31))
def test_every_stochastic_step_is_scored_by_the_same_transition(seed: int) -> None:
    flow, _ = gaussian_flow()
    walk = run(seed=seed, window=range(1, 4))
    steps = list(walk.stochastic_steps())
    assert [step.index for step in steps] == [1, 2, 3]
    for step in steps:
        again = transition(
            step.x_t, flow(step.x_t, step.t).float(), step.t, step.t_next, flow.sample_index, FlowGRPONoise()
        )
        assert torch.equal(again.log_prob(step.x_next), step.log_prob)


def test_one_seed_gives_one_walk() -> None:
    assert torch.equal(run(seed=3).states, run(seed=3).states)
    assert not torch.equal(run(seed=3).final, run(seed=4).final)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_everything_is_float32(dtype: torch.dtype) -> None:
    walk = sample_sde(
        lambda x_t, t: (-x_t).to(dtype),
        torch.randn(4, 2).to(dtype),
        time_grid(4, IdentityShift(), [4]),
        torch.zeros(4, dtype=torch.int64),
        FlowGRPONoise(),
        torch.Generator().manual_seed(0),
    )
    assert walk.states.dtype == walk.log_probs.dtype == torch.float32
    assert walk.log_probs.isfinite().all()


def moments(steps: int, noise_level: NoiseLevel, start: float) -> tuple[Tensor, Tensor]:
    """Mean and variance at t = 1 of the chain itself, exactly: it is affine in x, so two runs of a step tell all."""
    index = torch.tensor([0])
    flow = GaussianFlow(torch.tensor([1.5]).double(), torch.tensor([0.5]).double(), index)
    times = torch.linspace(start, 1, steps + 1, dtype=torch.float64)[:, None]
    mean, variance = times[0] * flow.mean, flow.spread_at(times[0]).square()
    for t, t_next in zip(times, times[1:], strict=False):
        steps_from = [
            transition(x, flow(x, t), t, t_next, index, noise_level)
            for x in (torch.zeros(1, 1).double(), torch.ones(1, 1).double())
        ]
        offset = steps_from[0].mean[0]
        factor = steps_from[1].mean[0] - offset
        mean, variance = offset + factor * mean, factor.square() * variance + steps_from[0].std.square()
    return mean - flow.mean, variance - flow.std.square()


@pytest.mark.parametrize("noise_level", LEVELS, ids=repr)
def test_marginals_of_a_gaussian_flow_are_kept_to_first_order(noise_level: NoiseLevel) -> None:
    """Deterministic: the chain's own mean and variance approach the flow's with slope 1."""
    sizes = [50, 100, 200, 400]
    errors = [moments(n, noise_level, 0.1) for n in sizes]
    assert slope(sizes, [variance.abs().item() for _, variance in errors]) == pytest.approx(1, abs=0.15)
    assert max(mean.abs().item() for mean, _ in errors) < 1e-2


@pytest.mark.parametrize("noise_level", LEVELS, ids=repr)
def test_drawn_states_have_the_marginals_of_the_gaussian_flow(noise_level: NoiseLevel) -> None:
    """Statistical, fixed seed: 20,000 walks of 400 steps from t = 0.1.

    The discretisation moves mean and variance by less than half a standard error, so a bound of 5.4 + 0.5 standard
    errors on each of two numbers fails a correct sampler with probability below 2e-7.
    """
    walks, steps = 20_000, 400
    index = torch.zeros(walks, dtype=torch.int64)
    flow = GaussianFlow(torch.tensor([1.5]), torch.tensor([0.5]), index)
    times = torch.linspace(0.1, 1, steps + 1)[:, None]
    generator = torch.Generator().manual_seed(0)
    start = times[0] * flow.mean + flow.spread_at(times[0]) * torch.randn(walks, 1, generator=generator)
    final = sample_sde(flow, start, times, index, noise_level, generator).final.double()
    bias_mean, bias_variance = moments(steps, noise_level, 0.1)
    error_mean, error_variance = 0.5 / walks**0.5, 0.25 * (2 / walks) ** 0.5
    assert bias_mean.abs() < error_mean / 2
    assert bias_variance.abs() < error_variance / 2
    assert (final.mean() - 1.5).abs() < 5.9 * error_mean
    assert (final.var() - 0.25).abs() < 5.9 * error_variance


def test_wrong_windows_and_levels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"window range\(4, 8\) leaves the grid's steps 0 to 5"):
        run(window=range(4, 8))
    with pytest.raises(ValueError, match="leaves the grid"):
        run(window=range(-1, 2))
    flow, noise = gaussian_flow()
    times = time_grid(2, IdentityShift(), [4, 4])
    with pytest.raises(ValueError, match=r"the noise level of step 0 is \[0\.0, 0\.0\]"):
        sample_sde(flow, noise, times, flow.sample_index, NoNoise(), torch.Generator())


def test_parity_rl_sde() -> None:
    tensors, case, tolerance = parity("rl_sde")
    settings = case["hyperparameters"]
    shift = SquareRootShift(side=settings["time_shift_base_res"] / 16)
    steps, pixels = settings["num_steps"], settings["num_tokens"]
    times = time_grid(steps, shift, [count // 4 for count in pixels])
    for name in ("timesteps_full", "euler_timesteps_full"):  # drawn with noise and without
        torch.testing.assert_close(times.T.contiguous(), tensors[f"outputs.{name}"], **tolerance)
    torch.testing.assert_close(times[:, 0], tensors["outputs.scalar_tokens_timesteps_full"], **tolerance)
    level = FlowGRPONoise(settings["sigma_coef"])
    mask = tensors["inputs.img_mask"].bool()
    index = torch.repeat_interleave(torch.arange(3), mask.sum(1))
    for k in range(steps):
        x, x_next = tensors["outputs.latents"][k][mask], tensors["outputs.latents"][k + 1][mask]
        sigma = level(times[k].double(), times[k + 1].double()).float()
        torch.testing.assert_close(sigma, tensors["outputs.sigma"][:, k], **tolerance)
        step = transition(x, tensors["inputs.model_pred"][k][mask], times[k], times[k + 1], index, level)
        torch.testing.assert_close(step.mean, tensors["outputs.mean"][k][mask], **tolerance)
        drawn = step.mean + step.std[index][:, None] * tensors["inputs.noise"][k][mask]
        torch.testing.assert_close(drawn, x_next, **tolerance)
        everywhere = transition(  # the official means are those of the padding too
            tensors["outputs.latents"][k].flatten(0, 1),
            tensors["inputs.model_pred"][k].flatten(0, 1),
            times[k],
            times[k + 1],
            torch.arange(3).repeat_interleave(mask.shape[1]),
            level,
        )
        torch.testing.assert_close(everywhere.mean, tensors["outputs.mean"][k].flatten(0, 1), **tolerance)
        for name in ("log_prob", "log_prob_recomputed"):
            torch.testing.assert_close(step.log_prob(x_next), tensors[f"outputs.{name}"][:, k], **tolerance)
    rules = {"cfg3": TextImageGuidance(4.0, 2.0), "cfg2": TextGuidance(3.0)}
    for name, k in (("cfg3", 3), ("cfg2", 3), ("cfg3", 0)):
        branches = tensors[f"inputs.{name}_pred"].unflatten(0, (-1, 3))[:, mask]
        x, x_next = tensors["outputs.latents"][k][mask], tensors["outputs.latents"][k + 1][mask]
        step = transition(x, rules[name].combine(branches, index, 3), times[k], times[k + 1], index, level)
        torch.testing.assert_close(step.mean, tensors[f"outputs.{name}_step{k}.mean"][mask], **tolerance)
        torch.testing.assert_close(step.log_prob(x_next), tensors[f"outputs.{name}_step{k}.log_prob"], **tolerance)
