"""What packed tokens need: a value per sample spread over tokens, and a sum or a mean over tokens per sample.

A packed batch has one token axis without padding. Which sample a token belongs to is said by `sample_index`, one
integer per token. A batch of equal-sized images is the special case in which every image is one "token" with
features (channels, height, width) and `sample_index` is `torch.arange(batch)`.
"""

from math import prod
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

SampleIndex: TypeAlias = Int[Tensor, " tokens"]
"""The sample that each packed token belongs to, counted from 0."""
States: TypeAlias = Float[Tensor, " tokens *features"]
"""Packed tokens (noise, data, x_t or velocity) with any number of feature axes."""
PerSample: TypeAlias = Float[Tensor, " samples"]
"""One number per sample."""


def check_sample_index(sample_index: SampleIndex, tokens: int) -> None:
    """Refuse an index that is not one integer per token.

    Raises:
        ValueError: If its shape is not (tokens,).
    """
    if tuple(sample_index.shape) != (tokens,):
        raise ValueError(
            f"sample_index has shape {tuple(sample_index.shape)}, expected ({tokens},): one integer per packed token; "
            "for an unpacked batch pass torch.arange(batch)"
        )


def spread(values: Float[Tensor, "..."], x: States, sample_index: SampleIndex | None = None) -> Float[Tensor, "..."]:
    """Values per sample, shaped so that they multiply `x` along the right axis.

    Three forms are accepted and nothing else, because a time of shape (n,) broadcasts silently along the *last*
    axis of `x` whenever the sizes happen to agree:

    - 0-dimensional: the same value everywhere;
    - shape (samples,) together with `sample_index`;
    - as many axes as `x`, each of size 1 or the size in `x`.

    Args:
        values: One of the three forms, on the device of `x` or on the host (copied without waiting).
        x: Shape (tokens, *features).
        sample_index: Shape (tokens,), with entries below the length of `values`; None for the other two forms.

    Returns:
        `values` on the device of `x`, 0-dimensional or with as many axes as `x`.

    Raises:
        ValueError: If the shapes are none of the three.
    """
    if sample_index is not None:
        check_sample_index(sample_index, x.shape[0])
        if values.ndim != 1:
            raise ValueError(
                f"with sample_index, values per sample must have shape (samples,), got {tuple(values.shape)}; "
                "leave sample_index out for a value that already has the axes of the state"
            )
        on_device = values.to(x.device, non_blocking=True)
        return on_device.index_select(0, sample_index).reshape(-1, *([1] * (x.ndim - 1)))
    fits = values.ndim == x.ndim and all(n in (1, m) for n, m in zip(values.shape, x.shape, strict=True))
    if values.ndim == 0 or fits:
        return values.to(x.device, non_blocking=True)
    raise ValueError(
        f"a value of shape {tuple(values.shape)} does not say which axis of a state of shape {tuple(x.shape)} it "
        "belongs to; pass sample_index with values of shape (samples,), or give it the axes of the state, "
        "for example t[:, None]"
    )


def sum_per_sample(values: States, sample_index: SampleIndex, num_samples: int) -> PerSample:
    """Sum of all elements of each sample, in float32 or wider.

    The sum over tokens is a masked reduction and not an `index_add`, whose order of additions differs from run to
    run on CUDA: the log-probability of a step must come out the same when it is computed a second time. It needs
    samples times tokens of memory, little beside one token's hidden state.

    Entries of `sample_index` are in [0, num_samples); another shape than (tokens,) is a ValueError. A sample without
    tokens gets 0.
    """
    check_sample_index(sample_index, values.shape[0])
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    per_token = wide.flatten(1).sum(1) if wide.ndim > 1 else wide
    owner = torch.arange(num_samples, device=values.device)[:, None] == sample_index
    return torch.where(owner, per_token, per_token.new_zeros(())).sum(1)


def elements_per_sample(x: States, sample_index: SampleIndex, num_samples: int) -> PerSample:
    """Number of elements (tokens times features) of each sample as float32, without asking the device."""
    check_sample_index(sample_index, x.shape[0])
    owner = torch.arange(num_samples, device=x.device)[:, None] == sample_index
    return owner.sum(1).to(torch.float32) * float(prod(x.shape[1:]))


def mean_per_sample(values: States, sample_index: SampleIndex, num_samples: int) -> PerSample:
    """Mean over all elements of each sample, in float32 or wider; NaN for a sample without tokens."""
    counts = elements_per_sample(values, sample_index, num_samples)
    return sum_per_sample(values, sample_index, num_samples) / counts
