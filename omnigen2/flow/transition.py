r"""One Gaussian step of the sampling SDE: its law, its log-probability, its divergence from another policy's.

The deterministic flow has the same marginals as the family of SDEs (time running from noise to data)

$$ \mathrm d x = \Big(\text{velocity} + \tfrac{\sigma_t^2}{2}\,\text{score}\Big) \mathrm d t + \sigma_t\,\mathrm d w,
\qquad \text{score} = \frac{t\,\text{velocity} - x}{1 - t}, $$

for any noise level $\sigma_t$. A step of the Euler-Maruyama scheme is a Gaussian; rollout and loss both call
`transition`, so that what is sampled is what is scored.

Source: Liu et al., Flow-GRPO, arXiv:2505.05470, section 4.2, there with time running from data to noise.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import cos, isfinite, log, pi, sin
from typing import Literal, TypeAlias, assert_never

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from omnigen2.flow.packed import PerSample, SampleIndex, States, elements_per_sample, spread, sum_per_sample
from omnigen2.flow.path import working_dtype

Reduction: TypeAlias = Literal["mean", "sum"]
"""Over the elements of a sample. `"sum"` is the density of the whole state; `"mean"` is that divided by the number of
elements, so that its size, and a clip range for ratios of it, do not depend on the size of the picture."""


class NoiseLevel(ABC):
    """The noise level sigma of a step, free to choose: it changes the paths and not their marginals."""

    @abstractmethod
    def __call__(self, t: PerSample, t_next: PerSample, /) -> PerSample:
        """The level, not negative, of the step from `t` in [0, 1) to a greater `t_next`; all of shape (samples,)."""

    def removal(self, t: PerSample, t_next: PerSample, /) -> PerSample:
        r"""The rate at which a step takes predicted noise out of the state, to make room for the noise it adds.

        $\sigma^2 / (2 (1 - t))$ unless a class says otherwise: the drift of the SDE, which keeps the marginals of the
        flow as the steps become short.
        """
        return self(t, t_next).square() / (2 * (1 - t))


@dataclass(frozen=True, slots=True)
class FlowGRPONoise(NoiseLevel):
    r"""$\sigma_t = \text{scale} \sqrt{(1 - t) / t}$, with the end of the step in the denominator where t = 0.

    The level is infinite at t = 0, where every sampler starts, so the first step needs a finite one: both official
    codes (flow_grpo, and the RL code of OmniGen2) divide by the time at which the first step ends. The drift term stays
    finite, but the product of $\sigma^2$ and the first steps does not shrink with the number of steps: after the first
    step a standard normal state has variance $1 + \text{scale}^4 / 4$ whatever the grid (6% too much at 0.7), and
    the excess dies out only slowly. Leave the first steps out of the window of stochastic steps to avoid it.

    Attributes:
        scale: Positive and finite; the paper uses 0.7.
    """

    scale: float = 0.7

    def __post_init__(self) -> None:
        _check_level("FlowGRPONoise", "scale", self.scale)

    @override
    def __call__(self, t: PerSample, t_next: PerSample, /) -> PerSample:
        return self.scale * torch.sqrt((1 - t) / torch.where(t == 0, t_next, t))


@dataclass(frozen=True, slots=True)
class ConstantNoise(NoiseLevel):
    """The same level at every time, as DanceGRPO uses.

    Source: Xue et al., DanceGRPO, arXiv:2505.07818.

    Attributes:
        level: Positive and finite.
    """

    level: float

    def __post_init__(self) -> None:
        _check_level("ConstantNoise", "level", self.level)

    @override
    def __call__(self, t: PerSample, t_next: PerSample, /) -> PerSample:
        del t_next
        return torch.full_like(t, self.level)


@dataclass(frozen=True, slots=True)
class CoefficientPreservingNoise(NoiseLevel):
    r"""Coefficient-preserving sampling: part of the predicted noise is exchanged for fresh noise.

    The deterministic step goes to $t' \hat x + (1 - t')\, \hat\epsilon$, with data $\hat x$ and noise
    $\hat\epsilon$ as the velocity predicts them. Here the predicted noise is multiplied by $\cos\phi$ and fresh noise
    times $\sin\phi$ is added, $\phi = \text{strength} \cdot \pi / 2$: the squares of the two coefficients add up to
    $(1 - t')^2$, the amount of noise that the model expects at $t'$, however long the step is. The SDE adds up to it
    for short steps only, and its pictures stay noisy when steps are few. Nothing here shrinks with the length of the
    step, so there is no SDE in the limit: the level belongs to its grid. At t' = 1 nothing is left to exchange: leave
    the last step out of the window.

    Its paper weighs squared errors in the log-probability with 1 instead of the variance; ours is the density.

    Source: Wang and Yu, Coefficients-Preserving Sampling, arXiv:2509.05952; there with time from data to noise.

    Attributes:
        strength: In (0, 1]; 1 exchanges all of the predicted noise.
    """

    strength: float

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise ValueError(
                f"CoefficientPreservingNoise needs a strength in (0, 1], got {self.strength}; for steps without "
                "noise, which have no log-probability, leave them out of the window (window=range(0) is the ODE)"
            )

    @override
    def __call__(self, t: PerSample, t_next: PerSample, /) -> PerSample:
        """The level that gives the step a standard deviation of (1 - t_next) sin(phi)."""
        return sin(self.strength * pi / 2) * (1 - t_next) / (t_next - t).sqrt()

    @override
    def removal(self, t: PerSample, t_next: PerSample, /) -> PerSample:
        """The rate that leaves cos(phi) of the predicted noise."""
        return (1 - cos(self.strength * pi / 2)) * (1 - t_next) / (t_next - t)


def _check_level(owner: str, name: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise ValueError(
            f"{owner} needs a positive, finite {name}, got {value}; for steps without noise, which have no "
            "log-probability, leave them out of the window (window=range(0) is the ODE)"
        )


@dataclass(frozen=True, slots=True)
class Transition:
    """An independent normal distribution for every element, with one standard deviation per sample.

    Attributes:
        mean: Shape (tokens, *features), float32 or wider.
        std: Standard deviation of the whole step, sigma times the root of its length, shape (samples,).
        sample_index: The sample of each token, shape (tokens,).
    """

    mean: Float[Tensor, " tokens *features"]
    std: Float[Tensor, " samples"]
    sample_index: SampleIndex

    def sample(self, generator: torch.Generator) -> States:
        """Draw the next state; the noise comes from the generator's device, and gradients flow into mean and std."""
        noise = torch.randn(self.mean.shape, generator=generator, device=generator.device, dtype=self.mean.dtype)
        noise = noise.to(self.mean.device, non_blocking=True)
        return self.mean + spread(self.std, self.mean, self.sample_index) * noise

    def log_prob(self, x: States, reduction: Reduction = "mean") -> PerSample:
        """Log density of a next state, per sample, float32 or wider; not finite where `std` is 0 and there is none."""
        counts = elements_per_sample(x, self.sample_index, self.std.shape[0])
        squares = sum_per_sample((x.to(self.mean.dtype) - self.mean).square(), self.sample_index, self.std.shape[0])
        mean = -(squares / counts) / (2 * self.std.square()) - self.std.log() - log(2 * pi) / 2
        return _reduce(mean, counts, reduction)

    def kl(self, other: "Transition", reduction: Reduction = "mean") -> PerSample:
        r"""Kullback-Leibler divergence KL(this, other), each sample by itself.

        It is exact. The official codes leave the length of the step out of their standard deviation here, so theirs
        is ours times $\Delta t$; the RL code of OmniGen2 also averages over samples before it divides by each sample's
        variance.

        Args:
            other: Another step of the same samples, for instance the reference policy's.
            reduction: Over the elements of each sample.
        """
        counts = elements_per_sample(self.mean, self.sample_index, self.std.shape[0])
        squares = sum_per_sample((self.mean - other.mean).square(), self.sample_index, self.std.shape[0])
        log_ratio = 2 * (self.std / other.std).log()
        mean = (squares / counts) / (2 * other.std.square()) + (torch.expm1(log_ratio) - log_ratio) / 2
        return _reduce(mean, counts, reduction)


def _reduce(mean: PerSample, counts: PerSample, reduction: Reduction) -> PerSample:
    match reduction:
        case "mean":
            return mean
        case "sum":
            return mean * counts
        case _:
            assert_never(reduction)


def transition(
    x_t: Float[Tensor, " tokens *features"],
    velocity: Float[Tensor, " tokens *features"],
    t: Float[Tensor, " samples"],
    t_next: Float[Tensor, " samples"],
    sample_index: SampleIndex,
    noise_level: NoiseLevel,
) -> Transition:
    r"""The Gaussian step from `t` to `t_next`.

    With dt the length of the step, the mean is `x_t + dt (velocity + c (t velocity - x_t))`, where c is the level's
    `removal`, for an SDE $\sigma^2 / (2 (1 - t))$, and the standard deviation $\sigma \sqrt{dt}$. With $\sigma = 0$ the
    mean is the Euler step bit for bit.

    Args:
        x_t: State, shape (tokens, *features).
        velocity: The model's (guided) velocity there.
        t: Start of the step, shape (samples,), in [0, 1). Keep it on the host (`Trajectory.times` is): coefficients
            are computed where it lives, in float64, and copied to the state's device without waiting.
        t_next: End of the step, greater than `t`.
        sample_index: Shape (tokens,).
        noise_level: sigma.

    Raises:
        ValueError: If `t` and `t_next` are on the host and not 0 <= t < t_next <= 1.
    """
    on_host = t.device.type == "cpu" and t_next.device.type == "cpu" and not torch.compiler.is_compiling()
    if on_host and not bool(((t >= 0) & (t < t_next) & (t_next <= 1)).all()):
        raise ValueError(
            f"a step needs 0 <= t < t_next <= 1 for every sample, got t {t.tolist()} and t_next {t_next.tolist()}"
        )
    start, end = t.to(torch.float64), t_next.to(torch.float64)
    sigma = noise_level(start, end)
    dtype = working_dtype(x_t)

    def wide(values: PerSample) -> Float[Tensor, "..."]:
        return spread(values.to(dtype), x_t, sample_index)

    x, v = x_t.to(dtype), velocity.to(dtype)
    drift = v + wide(noise_level.removal(start, end)) * (wide(start) * v - x)
    std = (sigma * (end - start).sqrt()).to(dtype).to(x_t.device, non_blocking=True)
    return Transition(x + wide(end - start) * drift, std, sample_index)
