"""Where training times come from: a distribution on [0, 1], drawn independently or stratified over samples and ranks.

All randomness comes from an explicit `torch.Generator` and is drawn on that generator's device: a CPU generator
gives the same times whatever device the model is on.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.flow.checks import check_instance
from omnigen2.flow.packed import PerSample

Quantiles: TypeAlias = Float[Tensor, " samples"]
"""Levels in [0, 1], float64."""


@runtime_checkable
class TimeSampler(Protocol):
    """Anything that draws one time per sample."""

    def sample(self, count: int, generator: torch.Generator) -> PerSample:
        """Draw times, float32 in [0, 1], shape (count,), on the device of the generator."""
        ...


@runtime_checkable
class TimeDistribution(Protocol):
    """A distribution on [0, 1], given by its quantile function."""

    def quantile(self, level: Quantiles) -> Quantiles:
        """The time below which a fraction `level` of the draws lie: in [0, 1], increasing in `level`."""
        ...


@dataclass(frozen=True, slots=True)
class UniformTimes:
    """Uniform on [low, high].

    Attributes:
        low: Smallest time, at least 0.
        high: Largest time, above `low`, at most 1.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(f"UniformTimes needs 0 <= low < high <= 1, got low {self.low} and high {self.high}")

    def quantile(self, level: Quantiles) -> Quantiles:
        """`low + (high - low) level`."""
        return self.low + (self.high - self.low) * level

    def sample(self, count: int, generator: torch.Generator) -> PerSample:
        """Independent draws, float32, shape (count,)."""
        return self.quantile(_levels(count, generator)).to(torch.float32)


@dataclass(frozen=True, slots=True)
class LogitNormalTimes:
    """The sigmoid of a normal variable: the middle of the path more often than its ends.

    The official code calls it `lognorm`.

    Source: Esser et al., arXiv:2403.03206, eq. 19.

    Attributes:
        mean: Mean of the normal variable, finite; above 0 prefers the data end.
        std: Its standard deviation, positive and finite.
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if not (isfinite(self.mean) and isfinite(self.std) and self.std > 0):
            raise ValueError(
                f"LogitNormalTimes needs a finite mean and a positive, finite std, got {self.mean} and {self.std}"
            )

    def quantile(self, level: Quantiles) -> Quantiles:
        """The sigmoid of the normal quantile."""
        return torch.sigmoid(self.mean + self.std * torch.special.ndtri(level))

    def sample(self, count: int, generator: torch.Generator) -> PerSample:
        """Independent draws, float32, shape (count,)."""
        return self.quantile(_levels(count, generator)).to(torch.float32)


@dataclass(frozen=True, slots=True)
class StratifiedTimes:
    """One draw in each of `world_size * count` equally likely strata, dealt out to samples and ranks.

    The variance of the loss over times shrinks, because every global batch covers the whole path evenly. Rank r gets
    the strata r, r + world_size, r + 2 world_size, ...; which sample of the rank gets which of them is drawn at random,
    so that a batch sorted by size or task does not tie size or task to time (the official code deals them in order).
    Evenness across ranks holds when every rank draws the same `count`.

    Attributes:
        distribution: The distribution of a single time.
        rank: Number of this process, from 0.
        world_size: Number of processes.
    """

    distribution: TimeDistribution
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        check_instance("the distribution of StratifiedTimes", self.distribution, TimeDistribution)
        if not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"StratifiedTimes needs 0 <= rank < world_size, got rank {self.rank} of {self.world_size} processes"
            )

    def strata(self, level: Quantiles) -> Quantiles:
        """Send independent levels into this rank's strata, in order.

        Args:
            level: Independent levels in [0, 1), shape (count,).

        Returns:
            Levels in [0, 1); the j-th lies in stratum `rank + j world_size` of `count * world_size`.
        """
        stratum = self.rank + self.world_size * torch.arange(len(level), device=level.device)
        return (stratum + level) / (len(level) * self.world_size)

    def sample(self, count: int, generator: torch.Generator) -> PerSample:
        """One draw per stratum in random order, float32, shape (count,)."""
        levels = self.strata(_levels(count, generator))
        order = torch.randperm(count, generator=generator, device=generator.device)
        return self.distribution.quantile(levels[order]).to(torch.float32)


def _levels(count: int, generator: torch.Generator) -> Quantiles:
    return torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64)
