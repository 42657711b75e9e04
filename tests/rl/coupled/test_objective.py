from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.flow import PerSample, StochasticStep, Transition
from omnigen2.rl import Divergence, ExactKL, FlowGRPOLoss, FlowGRPOObjective, RatioRule, UnscaledKL
from tests.rl.cases import Drawn, drawn, parity, steps

WIDE = {"clip_low": 0.9, "clip_high": 10.0, "kl_weight": 0.0}
seeds = st.integers(0, 2**31)


def numbers(case: Drawn, seed: int) -> Tensor:
    return torch.randn(case.samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, of)
    return found


@given(steps(), seeds)
def test_ratio_one_gives_the_reinforce_gradient(case: Drawn, seed: int) -> None:
    advantages, v = numbers(case, seed), case.velocity.clone().requires_grad_()
    out = FlowGRPOObjective(kl_weight=0)(case.score(v), case.step, advantages)
    reinforce = -(advantages * case.score(v).log_prob(case.step.x_next)).mean()
    torch.testing.assert_close(gradient(out.loss, v), gradient(reinforce, v))
    assert out.ratio_mean == out.ratio_max == 1
    assert out.clipped_low == out.clipped_high == out.approx_kl == 0
    torch.testing.assert_close(out.loss, -advantages.mean())


@given(steps(), seeds, st.floats(0.05, 2))
def test_no_gradient_outside_the_clip(case: Drawn, seed: int, push: float) -> None:
    """Where the ratio is out of range in the direction that the advantage wants; everywhere else the full one."""
    advantages = numbers(case, seed)
    v = (case.velocity + push * torch.randn_like(case.velocity)).requires_grad_()
    objective = FlowGRPOObjective(clip_low=1e-3, clip_high=2e-3, kl_weight=0)
    out = objective(case.score(v), case.step, advantages)
    ratio = (case.score(v.detach()).log_prob(case.step.x_next) - case.step.log_prob).exp()
    high, low = (ratio > 1.002) & (advantages > 0), (ratio < 0.999) & (advantages < 0)
    found = gradient(out.loss, v)
    free = FlowGRPOObjective(**WIDE)(case.score(v), case.step, advantages)
    expected = torch.where((high | low)[case.index][:, None], 0, gradient(free.loss, v))
    torch.testing.assert_close(found, expected)
    assert out.clipped_high == high.double().mean()
    assert out.clipped_low == low.double().mean()


@given(steps(), seeds, st.floats(0.1, 3))
def test_advantages_are_clipped(case: Drawn, seed: int, limit: float) -> None:
    advantages = 3 * numbers(case, seed)
    objective = FlowGRPOObjective(advantage_clip=limit, kl_weight=0)
    clipped = objective(case.old, case.step, advantages.clamp(-limit, limit)).loss
    assert torch.equal(objective(case.old, case.step, advantages).loss, clipped)
    torch.testing.assert_close(clipped, -advantages.clamp(-limit, limit).mean())


@pytest.mark.parametrize("divergence", [ExactKL(), UnscaledKL()], ids=lambda own: type(own).__name__)
@given(case=steps(), seed=seeds, weight=st.floats(0.01, 2))
def test_loss_is_policy_loss_plus_weighted_kl(divergence: Divergence, case: Drawn, seed: int, weight: float) -> None:
    advantages, reference = numbers(case, seed), case.score(case.velocity + 0.3)
    objective = FlowGRPOObjective(kl_weight=weight, divergence=divergence)
    out = objective(case.old, case.step, advantages, reference=reference)
    assert out.kl is not None
    torch.testing.assert_close(out.loss, out.policy_loss + weight * out.kl)
    watched = FlowGRPOObjective(kl_weight=0, divergence=divergence)(
        case.old, case.step, advantages, reference=reference
    )
    assert watched.kl == out.kl
    assert watched.loss == watched.policy_loss
    assert FlowGRPOObjective(kl_weight=0)(case.old, case.step, advantages).kl is None


@given(steps(min_size=2), seeds, st.floats(-0.5, 0.5))
def test_a_count_makes_the_sum_independent_of_the_split(case: Drawn, seed: int, push: float) -> None:
    """Loss and gradient of all samples at once are the sums over the samples one by one, weights included."""
    advantages, weight = numbers(case, seed), numbers(case, seed + 1).abs()
    objective, v = FlowGRPOObjective(1e-2, 2e-2), (case.velocity + push).requires_grad_()
    reference = case.score(case.velocity - push)
    whole = objective(case.score(v), case.step, advantages, weight, reference, count=case.samples)
    losses = []
    for sample in range(case.samples):
        mine = case.index == sample
        index = torch.zeros(int(mine.sum()), dtype=torch.int64)
        only = slice(sample, sample + 1)
        step = StochasticStep(
            0, case.step.t[only], case.step.t_next[only], case.step.x_t[mine], case.step.x_next[mine],
            case.step.log_prob[only],
        )  # fmt: skip
        part = Drawn(step, case.velocity[mine], index, case.level)
        parts = part.score(v[mine]), part.score((case.velocity - push)[mine])
        out = objective(parts[0], step, advantages[only], weight[only], parts[1], count=case.samples)
        losses.append(out.loss)
    torch.testing.assert_close(torch.stack(losses).sum(), whole.loss)
    torch.testing.assert_close(gradient(torch.stack(losses).sum(), v), gradient(whole.loss, v))


@given(steps(), seeds)
def test_weights_multiply_the_policy_loss_and_not_the_kl(case: Drawn, seed: int) -> None:
    advantages = numbers(case, seed)
    objective, reference = FlowGRPOObjective(), case.score(case.velocity + 0.3)
    plain = objective(case.old, case.step, advantages, reference=reference)
    double = objective(case.old, case.step, advantages, torch.full((case.samples,), 2.0), reference)
    torch.testing.assert_close(double.policy_loss, 2 * plain.policy_loss)
    assert double.kl == plain.kl


def test_wrong_inputs_are_refused() -> None:
    for arguments, message in (
        ({"clip_low": 1.0}, r"clip_low must be in \(0, 1\), got 1\.0"),
        ({"clip_high": 0.0}, r"clip_high must be positive and finite, got 0\.0"),
        ({"advantage_clip": -1.0}, r"advantage_clip must be positive and finite, got -1\.0"),
        ({"kl_weight": -0.1}, r"kl_weight must be finite and not negative, got -0\.1"),
    ):
        with pytest.raises(ValueError, match=message):
            FlowGRPOObjective(**arguments)
    case = drawn([2], [0.5], 0)
    with pytest.raises(ValueError, match=r"kl_weight is 0\.04, but there is no reference"):
        FlowGRPOObjective()(case.old, case.step, torch.zeros(1).double())


class Given(RatioRule):
    """Log-probabilities as a parity case gives them."""

    def __init__(self, log_prob: Tensor) -> None:
        self.log_prob = log_prob

    def log_ratio(self, policy: Transition, step: StochasticStep, old: Transition | None) -> PerSample:
        return self.log_prob - step.log_prob


def stored(
    tensors: dict[str, Tensor], new: Tensor, means: tuple[Tensor, Tensor], std: Tensor, **settings: Any
) -> FlowGRPOLoss:
    """The objective at stored log-probabilities and means; the step is 0.25 long, so its std is half of `std`."""
    samples = len(new)
    t = torch.full((samples,), 0.5)
    index = torch.arange(samples)
    step = StochasticStep(0, t, t + 0.25, means[0], means[0], tensors["inputs.old_log_prob"])
    policy, reference = (Transition(mean, std / 2, index) for mean in means)
    objective = FlowGRPOObjective(ratio=Given(new), **settings)
    return objective(policy, step, tensors["inputs.advantages"], reference=reference)


OF_SAMPLES = (
    "ratio", "unclipped", "clipped", "mean_ratio_positive_adv", "mean_ratio_negative_adv", "num_positive",
    "num_negative", "frac_ratio_gt_1", "frac_ratio_lt_1",
)  # fmt: skip


def test_parity_rl_ppo() -> None:
    tensors, case, tolerance = parity("rl_ppo")
    nothing = torch.zeros(10, 1), torch.zeros(10, 1)
    for number, run in enumerate(case["hyperparameters"]["runs"]):
        new = tensors[run["uses"]].clone().requires_grad_()
        settings = {name: run[name] for name in ("clip_low", "clip_high")} | {"advantage_clip": run["adv_clip_max"]}
        out = stored(tensors, new, nothing, torch.ones(10), kl_weight=0.0, **settings)
        for name, actual in {
            "loss": out.loss,
            "clip_fraction": out.clipped_low + out.clipped_high,
            "approx_kl": out.approx_kl,
            "grad_new_log_prob": gradient(out.loss, new),
        }.items():
            expected = tensors[f"outputs.run{number}.{name}"].reshape(actual.shape)
            torch.testing.assert_close(actual, expected, **tolerance)
        official = {name: tensors[f"outputs.run{number}.{name}"] for name in OF_SAMPLES}
        each = [alone(tensors, new.detach(), one, settings) for one in range(10)]
        ratio, losses = (torch.stack([getattr(one, name) for one in each]) for name in ("ratio_mean", "loss"))
        torch.testing.assert_close(ratio, official["ratio"], **tolerance)
        torch.testing.assert_close(losses, torch.maximum(official["unclipped"], official["clipped"]), **tolerance)
        advantages = tensors["inputs.advantages"]
        for sign, which in (("positive", advantages > 0), ("negative", advantages < 0)):
            assert ratio[which].mean() == pytest.approx(official[f"mean_ratio_{sign}_adv"].item(), rel=1e-5)
            assert which.sum() == official[f"num_{sign}"].item()
        assert (ratio > 1).float().mean() == pytest.approx(official["frac_ratio_gt_1"].item())
        assert (ratio < 1).float().mean() == pytest.approx(official["frac_ratio_lt_1"].item())
        assert out.ratio_max == pytest.approx(official["ratio"].max().item(), rel=1e-5)
        assert out.ratio_mean == pytest.approx(official["ratio"].mean().item(), rel=1e-5)


def alone(tensors: dict[str, Tensor], new: Tensor, one: int, settings: dict[str, Any]) -> FlowGRPOLoss:
    """The objective of a single sample: means over samples are then that sample's own numbers."""
    kept = {name: tensors[f"inputs.{name}"][one : one + 1] for name in ("old_log_prob", "advantages")}
    nothing = torch.zeros(1, 1), torch.zeros(1, 1)
    inputs = {f"inputs.{name}": tensor for name, tensor in kept.items()}
    return stored(inputs, new[one : one + 1], nothing, torch.ones(1), kl_weight=0.0, **settings)


def test_parity_fgrpo_loss() -> None:
    tensors, case, tolerance = parity("fgrpo_loss")
    for number, run in enumerate(case["hyperparameters"]["runs"]):
        new = tensors[f"inputs.run{number}.new_log_prob"].clone().requires_grad_()
        mean = tensors["inputs.mean"].clone().requires_grad_()
        clips = {"clip_low": run["clip_range"], "clip_high": run["clip_range"], "kl_weight": run["beta"]}
        others = (mean, tensors["inputs.mean_ref"]), tensors["inputs.std"]
        out = stored(tensors, new, *others, advantage_clip=run["adv_clip_max"], **clips)
        found = {"loss": out.loss, "policy_loss": out.policy_loss, "grad_new_log_prob": gradient(out.loss, new)}
        if run["beta"]:
            assert out.kl is not None
            again = stored(tensors, new.detach(), *others, **clips)
            found |= {"kl": out.kl, "grad_mean": gradient(again.loss, mean)}
        for name, actual in found.items():
            expected = tensors[f"outputs.run{number}.{name}"].reshape(actual.shape)
            torch.testing.assert_close(actual, expected, **tolerance, msg=lambda text, name=name: f"{name}: {text}")
