"""Weights of the flow loss by time."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import pi

from omnigen2.flow.packed import PerSample


class LossWeighting(ABC):
    """A weight for each sample, from its time."""

    @abstractmethod
    def __call__(self, t: PerSample, /) -> PerSample:
        """The weights.

        Args:
            t: Time of each sample, after the shift, shape (samples,).

        Returns:
            Non-negative, shape (samples,).
        """
        ...


@dataclass(frozen=True, slots=True)
class Unweighted(LossWeighting):
    """Weight 1 everywhere, as OmniGen2 trains."""

    def __call__(self, t: PerSample, /) -> PerSample:
        """Ones."""
        return t.new_ones(t.shape)


@dataclass(frozen=True, slots=True)
class CosineMapWeighting(LossWeighting):
    r"""Weight $2 / (\pi - 2 \pi t + 2 \pi t^2)$: the density of times on a path whose signal-to-noise is cosine-like.

    With uniform times it puts twice as much on the middle of the path as on its ends, and has mean 1. It is
    symmetric under t -> 1 - t, so the direction of time does not matter.

    Source: Esser et al., arXiv:2403.03206, eq. 21.
    """

    def __call__(self, t: PerSample, /) -> PerSample:
        """The density at t."""
        return 2 / (pi - 2 * pi * t + 2 * pi * t.square())
