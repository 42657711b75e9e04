"""What students learn: closed forms, and steps that meet."""

from functools import partial

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.flow import EulerSolver, FixedShift, HeunSolver, SquareRootShift, time_grid
from omnigen2.training.distillation import flow_map_velocity, followed_velocity

TOKENS = (2, 3)
OWNERS = torch.tensor([0, 0, 1, 1, 1])


def spread(t: Tensor) -> Tensor:
    return t[OWNERS][:, None]


def states(seed: int) -> Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))


def bent(x_t: Tensor, t: Tensor) -> Tensor:
    """A velocity whose paths are not straight."""
    return torch.sin(3 * x_t) + x_t.roll(1, 1) * spread(t) + spread(t) ** 2


def growing(rate: float, x_t: Tensor, t: Tensor) -> Tensor:
    del t
    return rate * x_t


def mean_growth(rate: float, end: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """The mean velocity of `growing` from t to its end, in closed form."""
    left = spread(end - t)
    return torch.where(left > 0, torch.expm1(rate * left) / left.clamp(min=1e-9), rate) * x_t


@given(seed=st.integers(0, 99), first=st.integers(0, 20), inner=st.integers(1, 8), m=st.floats(0.3, 4))
def test_straight_paths_are_their_own_target(seed: int, first: int, inner: int, m: float) -> None:
    data, x_t = states(seed), states(seed + 1)
    times = time_grid(28, FixedShift(m), TOKENS)[first : first + inner + 1]
    straight = lambda x, t: (data - x) / (1 - spread(t))  # noqa: E731
    expected = straight(x_t, times[0])
    for solver in (EulerSolver(), HeunSolver()):
        if bool(times[-1].max() < 1) or isinstance(solver, EulerSolver):
            found = followed_velocity(straight, x_t, times, OWNERS, solver)
            torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


@given(seed=st.integers(0, 99), steps=st.integers(1, 6), inner=st.integers(1, 5))
def test_steps_of_a_student_without_fault_meet_the_teachers(seed: int, steps: int, inner: int) -> None:
    shift, noise = SquareRootShift(2.0), states(seed)
    fine, coarse = time_grid(steps * inner, shift, TOKENS), time_grid(steps, shift, TOKENS)
    torch.testing.assert_close(fine[::inner], coarse, atol=1e-6, rtol=0)
    stretch = iter(range(steps))

    def student(x_t: Tensor, t: Tensor) -> Tensor:
        first = next(stretch) * inner
        return followed_velocity(bent, x_t, fine[first : first + inner + 1], OWNERS, EulerSolver())

    few = EulerSolver().solve(student, noise, coarse, OWNERS)
    many = EulerSolver().solve(bent, noise, fine, OWNERS)
    torch.testing.assert_close(few, many, atol=1e-4, rtol=1e-4)


@settings(deadline=None)
@given(rate=st.floats(-2, 2), start=st.floats(0.0, 0.75), seed=st.integers(0, 99))
def test_a_path_followed_closely_has_the_mean_velocity_of_its_closed_form(rate: float, start: float, seed: int) -> None:
    x_t, even = states(seed), torch.linspace(start, start + 0.25, 33, dtype=torch.float64)
    times = even.float()[:, None].repeat(1, 2)
    found = followed_velocity(partial(growing, rate), x_t, times, OWNERS, HeunSolver())
    torch.testing.assert_close(found, mean_growth(rate, times[-1], x_t, times[0]), atol=1e-3, rtol=1e-3)


@given(rate=st.floats(-2, 2), place=st.floats(0, 1), end=st.sampled_from([0.25, 0.5, 1.0]))
def test_the_mean_velocity_is_where_a_flow_map_stays(rate: float, place: float, end: float) -> None:
    x_t, ends = states(3), torch.tensor([end, 1.0])
    t = ends * place * 0.99  # all the way from 0 to near the end
    student = partial(mean_growth, rate, ends)
    found = flow_map_velocity(partial(growing, rate), student, x_t, t, ends, OWNERS)
    torch.testing.assert_close(found, student(x_t, t), atol=0.02, rtol=0.02)


def test_a_flow_map_moves_what_is_wrong_and_ends_at_the_teachers_velocity() -> None:
    x_t, end = states(1), torch.ones(2)
    teacher, t = partial(growing, 2.0), torch.tensor([0.0, 0.5])
    wrong = partial(growing, 2.0)  # the velocity in place of its mean
    found = flow_map_velocity(teacher, wrong, x_t, t, end, OWNERS)
    right = mean_growth(2.0, end, x_t, t)
    # sample by sample as far as the derivative of the wrong answer goes: 2 x + (end - t) 4 x
    torch.testing.assert_close(found, 2 * x_t + spread(end - t) * 4 * x_t, atol=1e-3, rtol=1e-3)
    assert (found - right)[OWNERS == 1].norm() > 0.1
    assert (found - wrong(x_t, t)).norm() > 0.1
    near = flow_map_velocity(teacher, wrong, x_t, end - 1e-6, end, OWNERS)
    torch.testing.assert_close(near, 2 * x_t, atol=1e-3, rtol=1e-3)
