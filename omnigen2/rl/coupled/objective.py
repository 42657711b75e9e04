r"""The clipped policy loss of Flow-GRPO for one step of a rollout.

$$ L = \frac{1}{N} \sum_i \Big[ w_i \max\big(-A_i r_i,\; -A_i \operatorname{clip}(r_i, 1 - \epsilon_\text{low},
1 + \epsilon_\text{high})\big) + \beta D_i \Big] $$

with the ratio r of the step's likelihood under the policy and under the one that drew it, the advantage A, the step's
weight w and a divergence D from the reference policy. The loss of a rollout is the mean over its trained steps.

Source: Liu et al., Flow-GRPO, arXiv:2505.05470, section 4.1.
"""

from math import isfinite
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, maximum

from omnigen2.flow import ElementCount, PerSample, StochasticStep, Transition
from omnigen2.rl.checks import check_per_sample
from omnigen2.rl.coupled.divergence import Divergence, UnscaledKL
from omnigen2.rl.coupled.ratio import LikelihoodRatio, RatioRule

Scalar = Float[Tensor, ""]


class FlowGRPOLoss(NamedTuple):
    """What one step of one micro-batch gives. Everything but the loss is detached; nothing was read from the device.

    Attributes:
        loss: The policy loss plus the weighted divergence: the only part that carries a gradient.
        policy_loss: The clipped, weighted policy loss over the sample count.
        kl: Mean divergence from the reference over the samples at hand, unweighted; None without a reference.
        ratio_mean: Mean ratio; 1 before the first update.
        ratio_max: Largest ratio.
        clipped_low: Share of samples without gradient because their ratio is below the range (and A < 0).
        clipped_high: Share of samples without gradient because their ratio is above the range (and A > 0).
        approx_kl: Mean of minus the log-ratio: how far this policy is from the one that drew.
    """

    loss: Scalar
    policy_loss: Scalar
    kl: Scalar | None
    ratio_mean: Scalar
    ratio_max: Scalar
    clipped_low: Scalar
    clipped_high: Scalar
    approx_kl: Scalar


class FlowGRPOObjective:
    """Scores a step again and says how the policy should change.

    The defaults are those of the official RL configuration, with a KL that keeps samples apart (see `UnscaledKL`).

    Args:
        clip_low: How far below 1 a ratio may fall before a bad sample stops counting, in (0, 1). Ratios are of
            log-probabilities as means over elements (see `LikelihoodRatio`), hence the small numbers.
        clip_high: How far above 1 it may rise before a good sample stops counting, positive.
        advantage_clip: Advantages are clipped to plus and minus this, positive.
        kl_weight: Of the divergence, not negative; 0 needs no reference.
        ratio: How the ratio is computed; `LikelihoodRatio` if None.
        divergence: How the distance from the reference is computed; `UnscaledKL` if None.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        clip_low: float = 1e-4,
        clip_high: float = 5e-4,
        advantage_clip: float = 5.0,
        kl_weight: float = 0.04,
        ratio: RatioRule | None = None,
        divergence: Divergence | None = None,
    ) -> None:
        if not 0 < clip_low < 1:
            raise ValueError(f"clip_low must be in (0, 1), got {clip_low}; the ratio is clipped to [1 - clip_low, …]")
        for name, value in (("clip_high", clip_high), ("advantage_clip", advantage_clip)):
            if not (isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if not (isfinite(kl_weight) and kl_weight >= 0):
            raise ValueError(f"kl_weight must be finite and not negative, got {kl_weight}; 0 is no divergence term")
        self.clip_low = clip_low
        self.clip_high = clip_high
        self.advantage_clip = advantage_clip
        self.kl_weight = kl_weight
        self.ratio = LikelihoodRatio() if ratio is None else ratio
        self.divergence = UnscaledKL() if divergence is None else divergence

    def __call__(
        self,
        policy: Transition,
        step: StochasticStep,
        advantages: PerSample,
        weight: PerSample | None = None,
        reference: Transition | None = None,
        old: Transition | None = None,
        count: ElementCount | None = None,
    ) -> FlowGRPOLoss:
        """The loss of one trained step.

        Args:
            policy: The step under the policy that is trained, with its gradient (`Rollout.score`).
            step: What was drawn.
            advantages: Of each sample, shape (samples,). A member without a reward has 0 and teaches nothing but to
                stay near the reference.
            weight: Of this step for each sample, shape (samples,); 1 if None.
            reference: The step under the reference policy, without gradient; may be None if `kl_weight` is 0.
            old: The step under the policy that drew it, for rules that need it.
            count: What the sums over samples are divided by. None: the samples at hand. When a rollout is split into
                micro-batches and steps, pass (all samples) times (trained steps): then the sum of the losses, and of
                their gradients, does not depend on the split.

        Raises:
            ValueError: If `kl_weight` is positive and there is no reference, or there is not one advantage and weight
                per sample.
        """
        if self.kl_weight > 0 and reference is None:
            raise ValueError(
                f"kl_weight is {self.kl_weight}, but there is no reference; pass the step under the reference policy, "
                "or set kl_weight to 0"
            )
        log_ratio = self.ratio.log_ratio(policy, step, old)
        ratio = log_ratio.exp()
        device, dtype = ratio.device, ratio.dtype
        check_per_sample("advantages", advantages, ratio.shape[0])
        a = advantages.to(dtype).to(device, non_blocking=True).clamp(-self.advantage_clip, self.advantage_clip)
        low, high = 1 - self.clip_low, 1 + self.clip_high
        losses = maximum(-a * ratio, -a * ratio.clamp(low, high))
        if weight is not None:
            check_per_sample("weight", weight, ratio.shape[0])
            losses = losses * weight.to(dtype).to(device, non_blocking=True)
        divisor = a.shape[0] if count is None else count
        loss = policy_loss = losses.sum() / divisor
        divergence = None if reference is None else self.divergence(policy, reference, step)
        if divergence is not None and self.kl_weight > 0:
            loss = loss + self.kl_weight * divergence.sum() / divisor
        ratio = ratio.detach()
        return FlowGRPOLoss(
            loss=loss.to(dtype),
            policy_loss=policy_loss.detach().to(dtype),
            kl=None if divergence is None else divergence.detach().mean(),
            ratio_mean=ratio.mean(),
            ratio_max=ratio.max(),
            clipped_low=((ratio < low) & (a < 0)).to(dtype).mean(),
            clipped_high=((ratio > high) & (a > 0)).to(dtype).mean(),
            approx_kl=-log_ratio.detach().mean(),
        )
