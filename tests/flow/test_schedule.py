import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.flow.schedule import (
    AtTokens,
    ExponentialShift,
    FixedShift,
    IdentityShift,
    SquareRootShift,
    TimeShift,
    time_grid,
)

from .cases import parity

SHIFTS: list[TimeShift] = [
    IdentityShift(),
    FixedShift(3.0),
    FixedShift(0.2),
    ExponentialShift(),
    SquareRootShift(),
    SquareRootShift(side=10.5),
    AtTokens(SquareRootShift(), 1024),
]
over_shifts = pytest.mark.parametrize("shift", SHIFTS, ids=repr)
token_counts = st.integers(1, 20_000)


@over_shifts
@given(tokens=token_counts, times=st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_each_shift_is_a_monotone_bijection_of_the_unit_interval(
    shift: TimeShift, tokens: int, times: list[float]
) -> None:
    t = torch.tensor(sorted(times), dtype=torch.float64)
    sizes = [tokens] * len(t)
    shifted = shift(t, sizes)
    assert ((shifted >= 0) & (shifted <= 1)).all()
    assert (shifted.diff() >= 0).all()
    inverse = FixedShift(1 / shift.factor(tokens))
    torch.testing.assert_close(inverse(shifted, sizes), t, rtol=1e-9, atol=1e-12)
    ends = torch.tensor([0.0, 1.0])
    assert torch.equal(shift(ends, [tokens, tokens]), ends)


@given(tokens=st.lists(token_counts, min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_each_sample_is_shifted_by_its_own_size(tokens: list[int], seed: int) -> None:
    t = torch.rand(len(tokens), generator=torch.Generator().manual_seed(seed))
    together = SquareRootShift()(t, tokens)
    alone = torch.cat([SquareRootShift()(t[i : i + 1], [count]) for i, count in enumerate(tokens)])
    assert torch.equal(together, alone)


def test_identity_and_reference_sizes_do_not_shift() -> None:
    t = torch.linspace(0, 1, 9)
    assert torch.equal(IdentityShift()(t, [7] * 9), t)
    torch.testing.assert_close(SquareRootShift(side=20.0)(t, [400] * 9), t)
    torch.testing.assert_close(FixedShift(1.0)(t, [3] * 9), t)


def test_larger_pictures_stay_longer_in_the_noise() -> None:
    for shift in (ExponentialShift(), SquareRootShift()):
        small, large = shift(torch.tensor([0.5, 0.5]), [256, 4096])
        assert large < small


@over_shifts
@given(steps=st.integers(1, 40), tokens=st.lists(token_counts, min_size=1, max_size=3))
def test_grid_runs_from_noise_to_data(shift: TimeShift, steps: int, tokens: list[int]) -> None:
    grid = time_grid(steps, shift, tokens)
    assert grid.shape == (steps + 1, len(tokens))
    assert grid.device.type == "cpu"
    assert (grid[0] == 0).all()
    assert (grid[-1] == 1).all()
    assert (grid.diff(dim=0) > 0).all()


@pytest.mark.parametrize("steps", [1, 4, 28, 50])
@pytest.mark.parametrize("tokens", [256, 1024, 4096])
@pytest.mark.parametrize("shift", [SquareRootShift(), ExponentialShift()], ids=repr)
def test_grid_equals_that_of_diffusers(steps: int, tokens: int, shift: SquareRootShift | ExponentialShift) -> None:
    fixed, sigmas = isinstance(shift, SquareRootShift), torch.linspace(1, 0, steps + 1)[:-1].tolist()
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=not fixed, time_shift_type="exponential")
    if fixed:
        scheduler.set_shift(shift.factor(tokens))
    scheduler.set_timesteps(sigmas=sigmas, mu=None if fixed else shift.mu(tokens))
    torch.testing.assert_close(time_grid(steps, shift, [tokens])[:, 0], 1 - scheduler.sigmas, rtol=0, atol=3e-7)


def test_parity_time_shift() -> None:
    tensors, _, tolerance = parity("time_shift")
    t = tensors["inputs.t"]
    for row, tokens in enumerate(tensors["inputs.num_tokens"].int().tolist()):
        sizes = [tokens] * len(t)
        mu = torch.tensor(ExponentialShift().mu(tokens))
        torch.testing.assert_close(mu, tensors["outputs.mu"][row], **tolerance)
        torch.testing.assert_close(ExponentialShift()(t, sizes), tensors["outputs.v1"][row], **tolerance)
        torch.testing.assert_close(ExponentialShift()(t, sizes), tensors["outputs.v1_scalar_mu"][row], **tolerance)
        torch.testing.assert_close(SquareRootShift()(t, sizes), tensors["outputs.v2"][row], **tolerance)


def test_parity_timestep_schedule() -> None:
    tensors, case, tolerance = parity("timestep_schedule")
    for combo in case["hyperparameters"]["combos"]:
        steps, pixels = combo["num_steps"], combo["num_tokens"]
        name = f"{steps}steps_{pixels}tokens"
        grid = time_grid(steps, SquareRootShift(), [pixels // 4])[:, 0]
        even = time_grid(steps, IdentityShift(), [pixels // 4])[:, 0]
        torch.testing.assert_close(grid[:-1], tensors[f"outputs.timesteps.{name}_shift"], **tolerance)
        torch.testing.assert_close(grid, tensors[f"outputs.timesteps_full.{name}_shift"], **tolerance)
        torch.testing.assert_close(even, tensors[f"outputs.timesteps_full.{name}_noshift"], **tolerance)
        torch.testing.assert_close(1 - grid, tensors[f"outputs.dpm_sigmas.{name}"], **tolerance)
    even = time_grid(9, IdentityShift(), [64])[:-1, 0]
    torch.testing.assert_close(even, tensors["outputs.timesteps.9steps_none"], **tolerance)


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        time_grid(0, IdentityShift(), [4])
    with pytest.raises(ValueError, match="got 2 times and 3 token counts"):
        IdentityShift()(torch.zeros(2), [1, 2, 3])
    with pytest.raises(ValueError, match="at least 1 token, got 0"):
        SquareRootShift()(torch.zeros(2), [4, 0])
    with pytest.raises(ValueError, match=r"FixedShift needs a positive, finite m, got -1\.0"):
        FixedShift(-1.0)
    with pytest.raises(ValueError, match=r"SquareRootShift needs a positive, finite side, got 0\.0"):
        SquareRootShift(0.0)
    with pytest.raises(ValueError, match="base_tokens < max_tokens, got 4096 and 256"):
        ExponentialShift(base_tokens=4096, max_tokens=256)
    with pytest.raises(ValueError, match="at least 1 token, got 0"):
        AtTokens(IdentityShift(), 0)
