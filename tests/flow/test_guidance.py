import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.flow.guidance import Guidance, RescaledGuidance, TextGuidance, TextImageGuidance, ZeroStarGuidance
from omnigen2.flow.packed import sum_per_sample

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


def packed_model(batch: Packed, branches: int):  # noqa: ANN201 - a closure
    samples = len(batch.tokens)

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        states, times = x_t.chunk(branches), t.chunk(branches)
        assert all(len(time) == samples for time in times)
        return torch.cat([branch_velocity(states[b], times[b], batch.sample_index, b) for b in range(branches)])

    return model


@over_rules
@given(packed())
def test_packed_branches_equal_separate_calls(rule: Guidance, batch: Packed) -> None:
    n = rule.num_branches
    got = rule(packed_model(batch, n), batch.sample_index)(batch.noise, batch.t)
    separate = torch.stack([branch_velocity(batch.noise, batch.t, batch.sample_index, b) for b in range(n)])
    torch.testing.assert_close(got, rule.combine(separate, batch.sample_index, len(batch.tokens)))


@over_rules
@given(packed())
def test_samples_do_not_feel_one_another(rule: Guidance, batch: Packed) -> None:
    velocities = torch.stack(
        [branch_velocity(batch.noise, batch.t, batch.sample_index, b) for b in range(rule.num_branches)]
    )
    whole = rule.combine(velocities, batch.sample_index, len(batch.tokens))
    for sample in range(len(batch.tokens)):
        own = batch.sample_index == sample
        alone = rule.combine(velocities[:, own], torch.zeros(int(own.sum()), dtype=torch.int64), 1)
        torch.testing.assert_close(whole[own], alone)


@pytest.mark.parametrize("rule", NEUTRAL, ids=repr)
@given(packed())
def test_scale_one_is_the_conditional_velocity(rule: Guidance, batch: Packed) -> None:
    velocities = torch.stack([batch.data, batch.noise, batch.noise - batch.data][: rule.num_branches])
    torch.testing.assert_close(rule.combine(velocities, batch.sample_index, len(batch.tokens)), batch.data)


@over_rules
@given(packed())
def test_equal_branches_are_left_alone(rule: Guidance, batch: Packed) -> None:
    velocities = batch.data.expand(rule.num_branches, *batch.data.shape)
    torch.testing.assert_close(rule.combine(velocities, batch.sample_index, len(batch.tokens)), batch.data)


@given(packed(), st.floats(1, 9), st.floats(1, 4))
def test_three_branches_contain_the_two_branch_rules(batch: Packed, text: float, image: float) -> None:
    c, r, u = batch.data, batch.noise, batch.noise.flip(0)
    samples = len(batch.tokens)
    equal = TextImageGuidance(text, text).combine(torch.stack([c, r, u]), batch.sample_index, samples)
    torch.testing.assert_close(equal, TextGuidance(text).combine(torch.stack([c, u]), batch.sample_index, samples))
    no_text = TextImageGuidance(1.0, image).combine(torch.stack([r, r, u]), batch.sample_index, samples)
    torch.testing.assert_close(no_text, TextGuidance(image).combine(torch.stack([r, u]), batch.sample_index, samples))


@given(packed(), st.floats(0, 1))
def test_rescaling_moves_the_standard_deviation_towards_the_conditional_one(batch: Packed, amount: float) -> None:
    velocities = torch.stack([batch.data, batch.noise])
    plain = TextGuidance(5.0).combine(velocities, batch.sample_index, len(batch.tokens))
    got = RescaledGuidance(TextGuidance(5.0), amount).combine(velocities, batch.sample_index, len(batch.tokens))
    for sample in range(len(batch.tokens)):
        own = batch.sample_index == sample
        before, wanted, after = (values[own].std(correction=0) for values in (plain, batch.data, got))
        torch.testing.assert_close(after, amount * wanted + (1 - amount) * before)


@given(packed())
def test_zero_star_leaves_an_error_orthogonal_to_the_branch(batch: Packed) -> None:
    """With scale 0 the rule returns the scaled unconditional velocity: the best multiple of u for c."""
    velocities = torch.stack([batch.data, batch.noise])
    fitted = ZeroStarGuidance(TextGuidance(0.0)).combine(velocities, batch.sample_index, len(batch.tokens))
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


def test_wrong_amounts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"amount in \[0, 1\], got 1\.5"):
        RescaledGuidance(TextGuidance(2.0), 1.5)
