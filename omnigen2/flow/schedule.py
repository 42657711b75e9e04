r"""Time shifts, and the grid of times that a sampler visits.

A shift moves time towards the noise where pictures are large: a large picture survives the same amount of noise with
more of its content, so it needs more of its steps at high noise. All shifts in use are one map with one number,

$$ t \mapsto \frac{t}{t + m\,(1 - t)}, \qquad m > 0, $$

and differ in how $m$ follows from the size of the picture. $m > 1$ moves towards the noise, $m = 1$ is the identity.

One shift object serves training (`RectifiedFlowObjective`) and sampling (`time_grid`); a recipe names it once. The
official code trains its fine-tuning recipe with the exponential shift and samples with the square root shift, whose
constant also stands in two places in two units (20 in tokens, 40 in latent pixels, the same thing at patch 2). Both
are here, so that either can be chosen for both.

Sizes are in *tokens of the target image* (latent height/2 times latent width/2 for the released model).

Source: Esser et al., arXiv:2403.03206, eq. 23, written there for sigma = 1 - t.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, sqrt

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from omnigen2.flow.checks import check_instance
from omnigen2.flow.packed import PerSample


class TimeShift(ABC):
    """A monotone bijection of [0, 1] for each size of picture."""

    @abstractmethod
    def factor(self, tokens: int) -> float:
        """The number m > 0 of the shift for a picture of so many tokens, at least 1."""

    def __call__(self, t: PerSample, tokens: Sequence[int]) -> PerSample:
        """Shift one time per sample, on any device; 0 and 1 stay exactly where they are.

        Args:
            t: Shape (samples,), in [0, 1].
            tokens: Number of target tokens of each sample (host integers; nothing is read from the device).

        Raises:
            ValueError: If there is not one token count per time, or one is below 1.
        """
        if t.shape[0] != len(tokens):
            raise ValueError(f"got {t.shape[0]} times and {len(tokens)} token counts; give one token count per sample")
        for count in tokens:
            if count < 1:
                raise ValueError(f"a picture has at least 1 token, got {count}; leave samples without a target out")
        m = torch.tensor([self.factor(count) for count in tokens], dtype=t.dtype).to(t.device, non_blocking=True)
        return t / (t + m * (1 - t))


@dataclass(frozen=True, slots=True)
class IdentityShift(TimeShift):
    """No shift: m = 1."""

    @override
    def factor(self, tokens: int) -> float:
        del tokens
        return 1.0


@dataclass(frozen=True, slots=True)
class FixedShift(TimeShift):
    """The same m for every size, as in Stable Diffusion 3 (m = 3).

    Attributes:
        m: Positive and finite.
    """

    m: float

    def __post_init__(self) -> None:
        _check_positive("FixedShift", "m", self.m)

    @override
    def factor(self, tokens: int) -> float:
        del tokens
        return self.m


@dataclass(frozen=True, slots=True)
class ExponentialShift(TimeShift):
    r"""$m = e^\mu$ with $\mu$ linear in the number of tokens, continued outside the two given sizes.

    The official code calls it version 1 and trains with it in its fine-tuning recipe (`transport.py`, `time_shift`),
    with these defaults; FLUX samples with it.

    Attributes:
        base_mu: mu at `base_tokens`.
        max_mu: mu at `max_tokens`.
        base_tokens: A size, at least 1; 256 tokens = 256² pixels.
        max_tokens: A larger size, 4096 tokens = 1024² pixels.
    """

    base_mu: float = 0.5
    max_mu: float = 1.15
    base_tokens: int = 256
    max_tokens: int = 4096

    def __post_init__(self) -> None:
        if not 1 <= self.base_tokens < self.max_tokens:
            raise ValueError(
                f"ExponentialShift needs 1 <= base_tokens < max_tokens, got {self.base_tokens} and {self.max_tokens}"
            )

    def mu(self, tokens: int) -> float:
        """The exponent for a picture of so many tokens."""
        slope = (self.max_mu - self.base_mu) / (self.max_tokens - self.base_tokens)
        return self.base_mu + slope * (tokens - self.base_tokens)

    @override
    def factor(self, tokens: int) -> float:
        return exp(self.mu(tokens))


@dataclass(frozen=True, slots=True)
class SquareRootShift(TimeShift):
    r"""$m = \sqrt{\text{tokens}} / \text{side}$: the identity at side² tokens, proportional to the side length.

    The official code calls it version 2 and samples with it. Its pipeline counts latent pixels and divides by 40,
    its trainer counts tokens and divides by 20; with 2 x 2 latent pixels per token that is the same. Its RL code
    writes a base resolution of 168 pixels, which is `side=10.5`.

    Attributes:
        side: Side, positive and finite, of the square picture that is not shifted, in tokens (20 tokens = 320 pixels).
    """

    side: float = 20.0

    def __post_init__(self) -> None:
        _check_positive("SquareRootShift", "side", self.side)

    @override
    def factor(self, tokens: int) -> float:
        return sqrt(tokens) / self.side


@dataclass(frozen=True, slots=True)
class AtTokens(TimeShift):
    """Another shift, taken at one size for every sample: what the official recipes call a static shift.

    Attributes:
        shift: The shift.
        tokens: The size at which it is taken, at least 1.
    """

    shift: TimeShift
    tokens: int

    def __post_init__(self) -> None:
        check_instance("the shift of AtTokens", self.shift, TimeShift)
        if self.tokens < 1:
            raise ValueError(f"AtTokens needs a picture of at least 1 token, got {self.tokens}")

    @override
    def factor(self, tokens: int) -> float:
        del tokens
        return self.shift.factor(self.tokens)


def _check_positive(owner: str, name: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise ValueError(f"{owner} needs a positive, finite {name}, got {value}; 1 times the reference is no shift")


def time_grid(steps: int, shift: TimeShift, tokens: Sequence[int]) -> Float[Tensor, "points samples"]:
    """The times that a sampler visits, from 0 to 1, for every sample of a packed batch.

    It is the shifted image of an even grid. It lives on the host, so that solvers can compute their coefficients,
    and take decisions, without asking the device.

    Args:
        steps: At least 1.
        shift: The shift the model was trained with.
        tokens: Number of target tokens of each sample.

    Returns:
        float32 on the CPU, shape (steps + 1, samples), increasing from 0 to 1 along the first axis.

    Raises:
        ValueError: If `steps` is below 1 or a token count is.

    Example:
        >>> time_grid(2, FixedShift(3.0), [64])[:, 0].tolist()
        [0.0, 0.25, 1.0]
    """
    check_instance("the steps of time_grid", steps, int)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}; 28 to 50 are usual with the Euler solver")
    check_instance("the shift of time_grid", shift, TimeShift)
    even = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    rows = [shift(t.expand(len(tokens)), tokens) for t in even]
    return torch.stack(rows).to(torch.float32)
