import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.flow import (
    EulerSolver,
    Guidance,
    GuidanceSchedule,
    IdentityShift,
    RescaledGuidance,
    TextGuidance,
    TextImageGuidance,
    ZeroStarGuidance,
    sum_per_sample,
    time_grid,
    zero_velocity,
)

from .cases import Packed, packed

RULES: list[Guidance] = [
    TextGuidance(3.0),
    TextImageGuidance(4.0, 1.6),
    RescaledGuidance(TextImageGuidance(4.0, 1.6), 0.7),
    ZeroStarGuidance(TextImageGuidance(4.0, 1.6)),
    ZeroStarGuidance(TextGuidance(3.0)),
]
NEUTRAL: list[Guidance] = [
    TextGuidance(1.0),
    TextImageGuidance(1.0, 1.0),
    RescaledGuidance(TextGuidance(1.0), 1.0),
    ZeroStarGuidance(TextImageGuidance(1.0, 1.0)),
]
over_rules = pytest.mark.parametrize("rule", RULES, ids=repr)


def branch_velocity(x_t: Tensor, t: Tensor, owners: Tensor, branch: int) -> Tensor:
    """Any field that depends on state, time and branch."""
    return torch.sin(x_t * (branch + 1)) + t[owners][:, None] + 0.3 * branch


def separate(rule: Guidance, batch: Packed) -> Tensor:
    velocities = [branch_velocity(batch.noise, batch.t, batch.sample_index, b) for b in range(rule.num_branches)]
    return torch.stack(velocities)


def combined(rule: Guidance, velocities: Tensor, batch: Packed) -> Tensor:
    return rule.combine(velocities, batch.sample_index, len(batch.tokens))


@over_rules
@given(packed())
def test_packed_branches_equal_separate_calls(rule: Guidance, batch: Packed) -> None:
    def model(x_t: Tensor, t: Tensor) -> Tensor:
        states, times = x_t.chunk(rule.num_branches), t.chunk(rule.num_branches)
        assert all(len(time) == len(batch.tokens) for time in times)
        branches = enumerate(zip(states, times, strict=True))
        return torch.cat([branch_velocity(state, time, batch.sample_index, b) for b, (state, time) in branches])

    got = rule(model, batch.sample_index)(batch.noise, batch.t)
    torch.testing.assert_close(got, combined(rule, separate(rule, batch), batch))


@over_rules
@given(packed())
def test_samples_do_not_feel_one_another(rule: Guidance, batch: Packed) -> None:
    velocities = separate(rule, batch)
    whole = combined(rule, velocities, batch)
    for sample in range(len(batch.tokens)):
        own = batch.sample_index == sample
        alone = rule.combine(velocities[:, own], torch.zeros(int(own.sum()), dtype=torch.int64), 1)
        torch.testing.assert_close(whole[own], alone)


@pytest.mark.parametrize("rule", NEUTRAL, ids=repr)
@given(packed())
def test_scale_one_is_the_conditional_velocity(rule: Guidance, batch: Packed) -> None:
    velocities = torch.stack([batch.data, batch.noise, batch.noise - batch.data][: rule.num_branches])
    torch.testing.assert_close(combined(rule, velocities, batch), batch.data)


@over_rules
@given(packed())
def test_equal_branches_are_left_alone(rule: Guidance, batch: Packed) -> None:
    velocities = batch.data.expand(rule.num_branches, *batch.data.shape)
    torch.testing.assert_close(combined(rule, velocities, batch), batch.data)


@given(packed(), st.floats(1, 9), st.floats(1, 4))
def test_three_branches_contain_the_two_branch_rules(batch: Packed, text: float, image: float) -> None:
    c, r, u = batch.data, batch.noise, batch.noise.flip(0)
    equal = combined(TextImageGuidance(text, text), torch.stack([c, r, u]), batch)
    torch.testing.assert_close(equal, combined(TextGuidance(text), torch.stack([c, u]), batch))
    no_text = combined(TextImageGuidance(1.0, image), torch.stack([r, r, u]), batch)
    torch.testing.assert_close(no_text, combined(TextGuidance(image), torch.stack([r, u]), batch))


@given(packed(), st.floats(0, 1))
def test_rescaling_moves_the_standard_deviation_towards_the_conditional_one(batch: Packed, amount: float) -> None:
    velocities = torch.stack([batch.data, batch.noise])
    plain = combined(TextGuidance(5.0), velocities, batch)
    got = combined(RescaledGuidance(TextGuidance(5.0), amount), velocities, batch)
    for sample in range(len(batch.tokens)):
        own = batch.sample_index == sample
        before, wanted, after = (values[own].std(correction=0) for values in (plain, batch.data, got))
        torch.testing.assert_close(after, amount * wanted + (1 - amount) * before)


@given(packed())
def test_zero_star_leaves_an_error_orthogonal_to_the_branch(batch: Packed) -> None:
    """With scale 0 the rule returns the scaled unconditional velocity: the best multiple of u for c."""
    velocities = torch.stack([batch.data, batch.noise])
    fitted = combined(ZeroStarGuidance(TextGuidance(0.0)), velocities, batch)
    dots = sum_per_sample((batch.data - fitted) * batch.noise, batch.sample_index, len(batch.tokens))
    torch.testing.assert_close(dots, torch.zeros_like(dots), rtol=0, atol=1e-9)


@over_rules
def test_zero_velocities_stay_finite(rule: Guidance) -> None:
    zeros = torch.zeros(rule.num_branches, 4, 2)
    assert torch.equal(rule.combine(zeros, torch.zeros(4, dtype=torch.int64), 1), zeros[0])


@pytest.mark.usefixtures("unchecked")
def test_a_model_that_answers_for_one_branch_only_is_refused() -> None:
    guided = TextGuidance(2.0)(lambda x_t, t: x_t[:3], torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"velocity of shape \(3, 1\) for a state of shape \(6, 1\)"):
        guided(torch.zeros(3, 1), torch.zeros(1))


def two(x_t: Tensor, t: Tensor) -> Tensor:
    del t
    return 2 * x_t


def one(x_t: Tensor, t: Tensor) -> Tensor:
    del t
    return x_t


@given(steps=st.integers(1, 60), ends=st.tuples(st.floats(0, 1), st.floats(0, 1)), zeros=st.integers(0, 5))
def test_every_step_has_the_model_of_its_fraction(steps: int, ends: tuple[float, float], zeros: int) -> None:
    start, stop = sorted(ends)
    models = GuidanceSchedule(start, stop, zeros).models(two, one, steps)
    assert len(models) == steps
    for i, model in enumerate(models):
        expected = two if start <= i / steps <= stop else one
        assert model is (zero_velocity if i < zeros else expected)


def test_both_ends_are_inclusive() -> None:
    models = GuidanceSchedule(0.25, 0.5).models(two, one, 8)
    assert [i for i, model in enumerate(models) if model is two] == [2, 3, 4]


def test_zero_init_leaves_the_noise_where_it_is() -> None:
    noise, index = torch.randn(3, 2), torch.zeros(3, dtype=torch.int64)
    models = GuidanceSchedule(zero_init_steps=2).models(two, one, 4)
    states = list(EulerSolver().states(models, noise, time_grid(4, IdentityShift(), [3]), index))
    assert torch.equal(states[1], noise)
    assert not torch.equal(states[2], noise)


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"amount in \[0, 1\], got 1\.5"):
        RescaledGuidance(TextGuidance(2.0), 1.5)
    with pytest.raises(ValueError, match=r"0 <= start <= stop <= 1, got 0\.6 and 0\.2"):
        GuidanceSchedule(0.6, 0.2)
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        GuidanceSchedule(zero_init_steps=-1)
