import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.flow import StochasticStep, Transition
from omnigen2.rl import Divergence, ExactKL, UnscaledKL
from tests.rl.cases import Drawn, official_kl, parity, steps


@pytest.mark.parametrize("divergence", [ExactKL(), UnscaledKL()], ids=lambda own: type(own).__name__)
@given(case=steps(), push=st.floats(-1, 1))
def test_zero_with_itself_and_never_negative(divergence: Divergence, case: Drawn, push: float) -> None:
    assert (divergence(case.old, case.old, case.step) == 0).all()
    assert (divergence(case.score(case.velocity + push), case.old, case.step) >= 0).all()
    if abs(push) > 1e-3:
        assert (divergence(case.score(case.velocity + push), case.old, case.step) > 0).all()


@given(steps(), st.floats(-1, 1))
def test_the_unscaled_one_is_the_exact_one_times_the_length(case: Drawn, push: float) -> None:
    policy = case.score(case.velocity + push)
    exact, unscaled = (own(policy, case.old, case.step) for own in (ExactKL(), UnscaledKL()))
    torch.testing.assert_close(unscaled, exact * 0.05)
    torch.testing.assert_close(exact, policy.kl(case.old))


@pytest.mark.parametrize("variances", ["same", "diff"])
@pytest.mark.parametrize("tokenwise", [True, False], ids=["tokens", "whole pictures"])
def test_parity_rl_kl(variances: str, tokenwise: bool) -> None:
    """The official number with its gradient, and ours, which is what it was meant to be."""
    tensors, _, tolerance = parity("rl_kl_and_reweight")
    mean, reference = tensors["inputs.mean"].clone().requires_grad_(), tensors["inputs.mean_ref"]
    index, length = torch.arange(3), 0.25
    if tokenwise:
        index = torch.repeat_interleave(index, mean.shape[1])

    def law(values: Tensor) -> Transition:
        values = values.flatten(0, 1) if tokenwise else values
        return Transition(values, (tensors[f"inputs.sigma2_{variances}"] * length).sqrt(), index)

    t = torch.full((3,), 0.5)
    x = law(reference).mean
    step = StochasticStep(0, t, t + length, x, x, torch.zeros(3))
    official = official_kl(law(mean), law(reference), step).mean()
    torch.testing.assert_close(official[None], tensors[f"outputs.kl_{variances}"], **tolerance)
    (gradient,) = torch.autograd.grad(official, mean)
    torch.testing.assert_close(gradient, tensors[f"outputs.kl_grad_{variances}"], **tolerance)
    intended = UnscaledKL()(law(mean), law(reference), step).mean()
    torch.testing.assert_close(intended[None], tensors[f"outputs.kl_{variances}_intended_per_sample"], **tolerance)
