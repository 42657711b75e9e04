r"""DiffusionNFT: learn from good and bad pictures by flow matching alone, without noise in the sampler.

With the optimality r of a picture in [0, 1], the velocity $v$ of its interpolation with fresh noise, and the policy
that drew it, $v_\text{old}$, the two policies

$$ v^+ = (1 - \beta)\, v_\text{old} + \beta\, v_\theta, \qquad v^- = (1 + \beta)\, v_\text{old} - \beta\, v_\theta $$

are both fitted to the picture, the first as far as it is good, the second as far as it is bad:

$$ L = r\, \|v^+ - v\|^2 + (1 - r)\, \|v^- - v\|^2 . $$

Any solver may draw the pictures, and only the last state is needed.

Source: Zheng et al., DiffusionNFT, arXiv:2509.16117, section 3.
"""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.flow import (
    ElementCount,
    PerSample,
    SampleIndex,
    TimeSampler,
    TimeShift,
    VelocityModel,
    call_model,
    draw_times_and_noise,
    interpolate,
    mean_per_sample,
    spread,
    velocity,
)
from omnigen2.rl.checks import check_per_sample


def optimality(advantages: PerSample, clip: float = 5.0) -> PerSample:
    """Turn advantages into the probability of being good: 1/2 at advantage 0, 0 and 1 from minus and plus `clip` on.

    Source: arXiv:2509.16117, section 3, with the group's advantage as the normalised reward.

    Raises:
        ValueError: If `clip` is not positive and finite.
    """
    if not (isfinite(clip) and clip > 0):
        raise ValueError(f"clip must be positive and finite, got {clip}")
    return (advantages / clip).clamp(-1, 1) / 2 + 0.5


class NFTLoss(NamedTuple):
    """What one micro-batch gives. Everything but the loss is detached.

    Attributes:
        loss: The weighted loss over the sample count; the only part that carries a gradient.
        positive: Mean squared error of the positive policy, each sample by itself, shape (samples,).
        negative: Mean squared error of the negative policy, shape (samples,).
        distance: Mean squared distance of the policy from the old one, shape (samples,).
    """

    loss: Float[Tensor, ""]
    positive: PerSample
    negative: PerSample
    distance: PerSample


class DiffusionNFTObjective:
    """Draws noise and times, evaluates both policies once, and fits the two mixtures.

    Args:
        sampler: Where the times come from, before the shift.
        shift: The shift that the model was trained with.
        beta: How far the two mixtures lie from the old policy, positive; 1 and 0.1 are in use. Small is bold: for
            one picture the optimum is v_old + (2 r - 1) / beta (v - v_old).
        adaptive: Divide each sample's loss by its own mean absolute error, as the paper does, so that times with
            large errors do not outweigh the others. Errors are then those of the predicted data.

    Raises:
        ValueError: If `beta` is not positive and finite.
    """

    def __init__(self, sampler: TimeSampler, shift: TimeShift, beta: float = 1.0, adaptive: bool = True) -> None:
        if not (isfinite(beta) and beta > 0):
            raise ValueError(f"beta must be positive and finite, got {beta}; with 0 the policy would not be trained")
        self.sampler = sampler
        self.shift = shift
        self.beta = beta
        self.adaptive = adaptive

    def __call__(
        self,
        policy: VelocityModel,
        old: VelocityModel,
        data: Float[Tensor, " tokens *features"],
        good: PerSample,
        tokens: Sequence[int],
        generator: torch.Generator,
        count: ElementCount | None = None,
    ) -> NFTLoss:
        """The loss at random times and noise.

        Args:
            policy: The velocity that is trained.
            old: That of the policy that drew the data (a slow average of the policy, say); evaluated without gradient.
            data: What was drawn, sample behind sample, shape (tokens, *features).
            good: Optimality of each sample in [0, 1], shape (samples,): see `optimality`.
            tokens: Number of tokens of each sample, on the host.
            generator: Source of the times and the noise, drawn on its own device.
            count: What the sum over samples is divided by; None: the samples at hand.

        Raises:
            ValueError: If `tokens` does not add up to the tokens of `data`, or `good` has not one number per sample.
        """
        t, noise = draw_times_and_noise(self.sampler, self.shift, data, tokens, generator)
        index = torch.repeat_interleave(torch.arange(len(tokens)), torch.tensor(tokens, dtype=torch.int64))
        return self.at(policy, old, noise, data, good, t, index.to(data.device, non_blocking=True), count)

    def at(
        self,
        policy: VelocityModel,
        old: VelocityModel,
        noise: Float[Tensor, " tokens *features"],
        data: Float[Tensor, " tokens *features"],
        good: PerSample,
        t: PerSample,
        sample_index: SampleIndex,
        count: ElementCount | None = None,
    ) -> NFTLoss:
        """The loss at given times (after the shift) and noise; the rest is as in `__call__`."""
        check_per_sample("good", good, t.shape[0])
        x_t = interpolate(noise, data, t, sample_index)
        with torch.no_grad():
            v_old = call_model(old, x_t, t)
        v = call_model(policy, x_t, t)
        target, change = velocity(noise, data), self.beta * (v - v_old)
        errors = (v_old + change - target, v_old - change - target)
        positive, negative = (self._reduce(error, t, sample_index) for error in errors)
        r = good.to(positive.dtype).to(positive.device, non_blocking=True)
        losses = r * positive + (1 - r) * negative
        return NFTLoss(
            loss=(losses.sum() / (t.shape[0] if count is None else count)).to(losses.dtype),
            positive=mean_per_sample(errors[0].detach().square(), sample_index, t.shape[0]),
            negative=mean_per_sample(errors[1].detach().square(), sample_index, t.shape[0]),
            distance=mean_per_sample((v - v_old).detach().square(), sample_index, t.shape[0]),
        )

    def _reduce(self, error: Float[Tensor, " tokens *features"], t: PerSample, sample_index: SampleIndex) -> PerSample:
        """Mean squared error of each sample, weighted if that was asked for."""
        squares = mean_per_sample(error.square(), sample_index, t.shape[0])
        if not self.adaptive:
            return squares
        to_data = error * spread(1 - t, error, sample_index)
        size = mean_per_sample(to_data.detach().abs(), sample_index, t.shape[0]).clamp(min=1e-5)
        return mean_per_sample(to_data.square(), sample_index, t.shape[0]) / size
