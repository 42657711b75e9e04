"""Guidance: a velocity made from several velocities, evaluated in one packed call.

A guidance wraps a `VelocityModel` and returns one. The wrapped model is given the state and the times once per
branch, packed behind one another (all tokens of branch 0, then all of branch 1, ...), and answers for all of them;
what the branches are conditioned on is bound to it beforehand. So guidance knows nothing of text, images or layouts,
and nothing can pair the condition of one sample with the mask of another.

Branches, in order: the conditional one first, the one with the least condition last. A `GuidanceSchedule` guides some
of the steps alone.

Source: Ho and Salimans, arXiv:2207.12598, eq. 6; Brooks et al., arXiv:2211.09800, eq. 3.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from omnigen2.flow.checks import check_instance
from omnigen2.flow.model import VelocityModel, call_model
from omnigen2.flow.packed import PerSample, SampleIndex, States, mean_per_sample, spread, sum_per_sample

Branches: TypeAlias = Float[Tensor, " branches tokens *features"]
"""The velocities of all branches of one state."""


class Guidance(ABC):
    """A rule that makes one velocity of several."""

    @property
    @abstractmethod
    def num_branches(self) -> int:
        """How many velocities the rule needs."""

    @abstractmethod
    def combine(self, velocities: Branches, sample_index: SampleIndex, num_samples: int) -> States:
        """The guided velocity of `velocities`, which are float32 or wider and in the order that the class says."""

    def __call__(self, model: VelocityModel, sample_index: SampleIndex) -> VelocityModel:
        """Wrap a model.

        Args:
            model: Answers for (branches * tokens) tokens and (branches * samples) times, branch behind branch.
            sample_index: The sample of each token of *one* branch, shape (tokens,).

        Returns:
            A model of (tokens) tokens and (samples) times.
        """

        def guided(
            x_t: Float[Tensor, " tokens *features"], t: Float[Tensor, " samples"], /
        ) -> Float[Tensor, " tokens *features"]:
            n = self.num_branches
            repeated = x_t.repeat(n, *([1] * (x_t.ndim - 1)))
            velocities = call_model(model, repeated, t.repeat(n)).unflatten(0, (n, x_t.shape[0]))
            return self.combine(velocities, sample_index, t.shape[0])

        return guided


@dataclass(frozen=True, slots=True)
class TextGuidance(Guidance):
    """`u + scale (c - u)`, from the branches (conditional c, unconditional u).

    In the official pipeline u has the negative prompt and *no reference images*, even when c has some, so that the
    scale amplifies both; pass a u with the references to amplify the text alone.

    Attributes:
        scale: 1 is no guidance, larger follows the text more.
    """

    scale: float

    @property
    @override
    def num_branches(self) -> int:
        return 2

    @override
    def combine(self, velocities: Branches, sample_index: SampleIndex, num_samples: int) -> States:
        del sample_index, num_samples
        conditional, unconditional = velocities
        return unconditional + self.scale * (conditional - unconditional)


@dataclass(frozen=True, slots=True)
class TextImageGuidance(Guidance):
    """`u + image_scale (r - u) + text_scale (c - r)`, from the branches (c, r, u).

    c has the prompt and the reference images, r the negative prompt and the images, u the negative prompt alone.

    Attributes:
        text_scale: How much the text is followed; 1 is no guidance.
        image_scale: How much the reference images are followed; 1 is no guidance.
    """

    text_scale: float
    image_scale: float

    @property
    @override
    def num_branches(self) -> int:
        return 3

    @override
    def combine(self, velocities: Branches, sample_index: SampleIndex, num_samples: int) -> States:
        del sample_index, num_samples
        conditional, reference, unconditional = velocities
        return (
            unconditional + self.image_scale * (reference - unconditional) + self.text_scale * (conditional - reference)
        )


@dataclass(frozen=True, slots=True)
class RescaledGuidance(Guidance):
    """Another guidance, brought back towards the standard deviation of the conditional velocity, sample by sample.

    Large scales inflate the velocity and with it contrast and saturation.

    Source: Lin et al., arXiv:2305.08891, eq. 14 to 16.

    Attributes:
        amount: In [0, 1]. 0 keeps its result, 1 gives it the standard deviation of the conditional velocity; 0.7 is
            usual.
    """

    inner: Guidance
    amount: float = 0.7

    def __post_init__(self) -> None:
        check_instance("inner of RescaledGuidance", self.inner, Guidance)
        if not 0 <= self.amount <= 1:
            raise ValueError(f"RescaledGuidance needs an amount in [0, 1], got {self.amount}")

    @property
    @override
    def num_branches(self) -> int:
        return self.inner.num_branches

    @override
    def combine(self, velocities: Branches, sample_index: SampleIndex, num_samples: int) -> States:
        guided = self.inner.combine(velocities, sample_index, num_samples)
        wanted = _std_per_sample(velocities[0], sample_index, num_samples)
        ratio = wanted / _std_per_sample(guided, sample_index, num_samples)
        # A constant velocity has nothing to rescale.
        ratio = torch.where(ratio.isfinite(), ratio, torch.ones_like(ratio))
        return guided * spread(self.amount * ratio + (1 - self.amount), guided, sample_index)


@dataclass(frozen=True, slots=True)
class ZeroStarGuidance(Guidance):
    """Another guidance, with every branch b but the conditional one c scaled to best explain it: `<c, b> / <b, b>`.

    Together with `zero_init_steps` of a `GuidanceSchedule` this is CFG-Zero*, which was proposed for text guidance
    with two branches; scaling each further branch the same way is our extension.

    Source: Fan et al., arXiv:2503.18886, section 3.
    """

    inner: Guidance

    def __post_init__(self) -> None:
        check_instance("inner of ZeroStarGuidance", self.inner, Guidance)

    @property
    @override
    def num_branches(self) -> int:
        return self.inner.num_branches

    @override
    def combine(self, velocities: Branches, sample_index: SampleIndex, num_samples: int) -> States:
        conditional, *others = velocities
        scaled = [conditional]
        for branch in others:
            along = sum_per_sample(conditional * branch, sample_index, num_samples)
            length = sum_per_sample(branch.square(), sample_index, num_samples)
            scale = torch.where(length > 0, along / length, torch.ones_like(length))
            scaled.append(branch * spread(scale, branch, sample_index))
        return self.inner.combine(torch.stack(scaled), sample_index, num_samples)


def _std_per_sample(values: States, sample_index: SampleIndex, num_samples: int) -> PerSample:
    mean = mean_per_sample(values, sample_index, num_samples)
    centred = values - spread(mean.to(values.dtype), values, sample_index)
    return mean_per_sample(centred.square(), sample_index, num_samples).sqrt()


@dataclass(frozen=True, slots=True)
class GuidanceSchedule:
    """Which steps are guided. The others evaluate the conditional branch alone, at a fraction of the cost.

    Step i of n is guided when `start <= i / n <= stop`, both ends inclusive, as in the official pipeline. i / n is
    the time of the step *before* the shift.

    Attributes:
        start: In [0, 1].
        stop: In [start, 1].
        zero_init_steps: Number of first steps, at least 0, with velocity 0, which leave the noise as it is (CFG-Zero*).
    """

    start: float = 0.0
    stop: float = 1.0
    zero_init_steps: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop <= 1:
            raise ValueError(
                f"GuidanceSchedule needs 0 <= start <= stop <= 1, got {self.start} and {self.stop}; "
                "they are fractions of the steps"
            )
        if self.zero_init_steps < 0:
            raise ValueError(f"zero_init_steps must not be negative, got {self.zero_init_steps}")

    def models(self, guided: VelocityModel, conditional: VelocityModel, steps: int) -> tuple[VelocityModel, ...]:
        """The model of each step, chosen on the host: what a solver and `sample_sde` accept in place of one model."""
        inside = [self.start <= i / steps <= self.stop for i in range(steps)]
        chosen = [guided if yes else conditional for yes in inside]
        zeros = min(self.zero_init_steps, steps)
        return (zero_velocity,) * zeros + tuple(chosen[zeros:])


def zero_velocity(
    x_t: Float[Tensor, " tokens *features"], t: Float[Tensor, " samples"], /
) -> Float[Tensor, " tokens *features"]:
    """A velocity that moves nothing."""
    del t
    return torch.zeros_like(x_t)
