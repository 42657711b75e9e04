import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.flow import FlowGRPONoise, StochasticStep, elements_per_sample, sum_per_sample, transition
from omnigen2.rl import LikelihoodRatio, NormalizedRatio, RatioRule
from tests.rl.cases import Drawn, drawn, steps


@pytest.mark.parametrize("rule", [LikelihoodRatio(), NormalizedRatio()], ids=lambda own: type(own).__name__)
@given(case=steps())
def test_log_ratio_is_exactly_zero_for_the_policy_that_drew(rule: RatioRule, case: Drawn) -> None:
    assert (rule.log_ratio(case.old, case.step, case.old) == 0).all()


@given(steps(), st.floats(-1, 1))
def test_the_likelihood_ratio_is_that_of_the_densities_per_element(case: Drawn, push: float) -> None:
    policy = case.score(case.velocity + push)
    found = LikelihoodRatio().log_ratio(policy, case.step, None)
    counts = elements_per_sample(case.velocity, case.index, case.samples)
    whole = policy.log_prob(case.step.x_next, "sum") - case.old.log_prob(case.step.x_next, "sum")
    torch.testing.assert_close(found * counts, whole, rtol=1e-6, atol=1e-9)


@given(steps(), st.floats(-1, 1))
def test_normalizing_adds_the_bias_and_multiplies_by_the_step(case: Drawn, push: float) -> None:
    """Equation 8 of GRPO-Guard as it is written."""
    policy = case.score(case.velocity + push)
    counts = elements_per_sample(case.velocity, case.index, case.samples)
    squares = sum_per_sample((policy.mean - case.old.mean).square(), case.index, case.samples) / counts
    bias = squares / (2 * case.old.std.square())
    expected = (LikelihoodRatio().log_ratio(policy, case.step, None) + bias) * case.old.std
    found = NormalizedRatio().log_ratio(policy, case.step, case.old)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_normalized_log_ratios_are_centred_and_of_one_size() -> None:
    """Statistical, fixed seed: 1,000 steps at a noisy and at a quiet time, the same change of the mean in each.

    Means are bounded by 5 standard errors, spreads by 5 standard errors of a standard deviation.
    """
    size = 1_000
    index = torch.arange(size)
    change = 0.1
    spreads = []
    for time in (0.1, 0.9):
        t = torch.full((size,), time, dtype=torch.float64)
        x = torch.zeros(size, 1, dtype=torch.float64)
        old = transition(x, x, t, t + 0.05, index, FlowGRPONoise())
        x_next = old.sample(torch.Generator().manual_seed(0))
        step = StochasticStep(0, t, t + 0.05, x, x_next, old.log_prob(x_next))
        policy = type(old)(old.mean + change, old.std, index)
        found = NormalizedRatio().log_ratio(policy, step, old)
        assert found.mean().abs() < 5 * change / size**0.5
        assert found.std() == pytest.approx(change, abs=5 * change / (2 * size) ** 0.5)
        plain = LikelihoodRatio().log_ratio(policy, step, old)
        assert plain.mean() < 0
        spreads.append(plain.std().item())
    assert spreads[1] > 5 * spreads[0]


def test_the_old_step_is_asked_for() -> None:
    case = drawn([2], [0.5], 0)
    with pytest.raises(ValueError, match=r"NormalizedRatio needs the step under the old policy, got None"):
        NormalizedRatio().log_ratio(case.old, case.step, None)
