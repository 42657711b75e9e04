"""By what number to divide a summed loss, so that splitting a batch does not change the gradient.

A data-parallel wrapper averages gradients over ranks, and a trainer averages over accumulated batches. If each of
these parts divided its sum by its own number of elements, elements in small parts would count more. If instead all
parts divide by the same number, the total number of elements over the number of parts, then the average over parts is
the total sum over the total number of elements.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

ElementCount: TypeAlias = int | float | Float[Tensor, ""]
"""A positive number of elements: a host number, or a 0-dimensional tensor on the device of the loss."""


def share_of_elements(local: Sequence[int], device: torch.device | None = None) -> Float[Tensor, ""]:
    """Total number of elements, over ranks and accumulated batches, divided by the number of these parts.

    It is a collective call when `torch.distributed` is initialised: every rank must make it. The host does not wait
    for the result.

    Args:
        local: Number of elements (tokens times features) of each accumulated batch of this rank; one entry without
            accumulation. Every rank gives as many entries.
        device: Where the result is wanted; with NCCL it must be the rank's GPU.

    Returns:
        float64, 0-dimensional, so that sums beyond 2^24 elements stay exact.

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
