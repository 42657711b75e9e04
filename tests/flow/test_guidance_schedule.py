import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.flow.guidance_schedule import GuidanceSchedule, zero_velocity
from omnigen2.flow.ode import EulerSolver
from omnigen2.flow.schedule import IdentityShift, time_grid


def guided(x_t: Tensor, t: Tensor) -> Tensor:
    del t
    return 2 * x_t


def conditional(x_t: Tensor, t: Tensor) -> Tensor:
    del t
    return x_t


@given(steps=st.integers(1, 60), ends=st.tuples(st.floats(0, 1), st.floats(0, 1)), zeros=st.integers(0, 5))
def test_every_step_has_the_model_of_its_fraction(steps: int, ends: tuple[float, float], zeros: int) -> None:
    start, stop = sorted(ends)
    models = GuidanceSchedule(start, stop, zeros).models(guided, conditional, steps)
    assert len(models) == steps
    for i, model in enumerate(models):
        expected = guided if start <= i / steps <= stop else conditional
        assert model is (zero_velocity if i < zeros else expected)


def test_both_ends_are_inclusive() -> None:
    models = GuidanceSchedule(0.25, 0.5).models(guided, conditional, 8)
    assert [i for i, model in enumerate(models) if model is guided] == [2, 3, 4]


def test_zero_init_leaves_the_noise_where_it_is() -> None:
    noise, index = torch.randn(3, 2), torch.zeros(3, dtype=torch.int64)
    models = GuidanceSchedule(zero_init_steps=2).models(guided, conditional, 4)
    states = list(EulerSolver().states(models, noise, time_grid(4, IdentityShift(), [3]), index))
    assert torch.equal(states[1], noise)
    assert not torch.equal(states[2], noise)


def test_wrong_intervals_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0 <= start <= stop <= 1, got 0\.6 and 0\.2"):
        GuidanceSchedule(0.6, 0.2)
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        GuidanceSchedule(zero_init_steps=-1)
