"""How errors are weighted by time, and by what number their sum is divided, so that splitting a batch changes nothing.

A data-parallel wrapper averages gradients over ranks, and a trainer averages over accumulated batches. If each of
these parts divided its sum by its own number of elements, elements in small parts would count more. If instead all
parts divide by the same number, the total number of elements over the number of parts, then the average over parts is
the total sum over the total number of elements.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import TypeAlias

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from omnigen2.flow.packed import PerSample

ElementCount: TypeAlias = int | float | Float[Tensor, ""]
"""A positive number of elements: a host number, or a 0-dimensional tensor on the device of the loss."""


def share_of_elements(local: Sequence[int], device: torch.device | None = None) -> Float[Tensor, ""]:
    """Total number of elements, over ranks and accumulated batches, divided by the number of these parts.

    It is a collective call when `torch.distributed` is initialised: every rank must make it. The host does not wait
    for the result, a float64 (so that sums beyond 2^24 elements stay exact).

    Args:
        local: Number of elements (tokens times features) of each accumulated batch of this rank; one entry without
            accumulation. Every rank gives as many entries.
        device: Where the result is wanted; with NCCL it must be the rank's GPU.

    Raises:
        ValueError: If `local` is empty or an entry is below 1.

    Example:
        >>> share_of_elements([30, 10]).item()
        20.0
    """
    if not local or min(local) < 1:
        raise ValueError(
            f"share_of_elements needs the element count of every accumulated batch, each at least 1, got {list(local)}"
        )
    total = torch.tensor(float(sum(local)), dtype=torch.float64).to(device, non_blocking=True)
    parts = len(local)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total)
        parts *= dist.get_world_size()
    return total / parts


class LossWeighting(ABC):
    """A weight for each sample, from its time."""

    @abstractmethod
    def __call__(self, t: PerSample, /) -> PerSample:
        """The weights, not negative, from the times after the shift; both of shape (samples,)."""


@dataclass(frozen=True, slots=True)
class Unweighted(LossWeighting):
    """Weight 1 everywhere, as OmniGen2 trains."""

    @override
    def __call__(self, t: PerSample, /) -> PerSample:
        return t.new_ones(t.shape)


@dataclass(frozen=True, slots=True)
class CosineMapWeighting(LossWeighting):
    r"""Weight $2 / (\pi - 2 \pi t + 2 \pi t^2)$: the density of times on a path whose signal-to-noise is cosine-like.

    With uniform times it puts twice as much on the middle of the path as on its ends, and has mean 1. It is
    symmetric under t -> 1 - t, so the direction of time does not matter.

    Source: Esser et al., arXiv:2403.03206, eq. 21.
    """

    @override
    def __call__(self, t: PerSample, /) -> PerSample:
        return 2 / (pi - 2 * pi * t + 2 * pi * t.square())
