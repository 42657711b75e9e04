"""Attention over packed sequences: one function, several kernels."""

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, assert_never, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.varlen import varlen_attn

from omnigen2.errors import check_choice
from omnigen2.layout import Offsets, Ragged, TokenIndex

AttentionBackend: TypeAlias = Literal["auto", "sdpa", "varlen", "flash_attn"]
Queries: TypeAlias = Float[Tensor, "tokens heads head_dim"]
Keys: TypeAlias = Float[Tensor, "tokens kv_heads head_dim"]

_VARLEN_GROUPS_HEADS = "enable_gqa" in inspect.signature(varlen_attn).parameters
"""torch 2.11 cannot share key and value heads in `varlen_attn`; there they are repeated."""


class Borders(NamedTuple):
    """Borders of the sequences that attend to themselves, on the host and on the device.

    Attributes:
        lengths: Length of each sequence.
        offsets: Cumulative lengths as int32 on the device, for kernels that take all sequences at once.
        max_length: Length of the longest sequence.
        groups: Lengths that occur, ascending, and how many sequences have each: what a kernel for sequences of one
            length is called with.
        by_length: Where each token stands when sequences are sorted by length; None if they are all equally long.
        unsorted: The inverse of `by_length`.
    """

    lengths: tuple[int, ...]
    offsets: Offsets
    max_length: int
    groups: tuple[tuple[int, int], ...]
    by_length: TokenIndex | None
    unsorted: TokenIndex | None

    @classmethod
    def of(cls, ragged: Ragged, device: torch.device) -> "Borders":
        """Borders for sequences planned on the host, there and on the device where attention runs."""
        offsets = torch.tensor(ragged.offsets, dtype=torch.int32).to(device, non_blocking=True)
        counts = Counter(length for length in ragged.lengths if length)
        groups = tuple(sorted(counts.items()))
        if len(groups) < 2:
            return cls(ragged.lengths, offsets, ragged.max_length, groups, None, None)
        order = torch.argsort(torch.tensor(ragged.lengths)[ragged.owners()], stable=True)
        by_length, unsorted = (index.to(device, non_blocking=True) for index in (order, torch.argsort(order)))
        return cls(ragged.lengths, offsets, ragged.max_length, groups, by_length, unsorted)


def check_backend(backend: AttentionBackend) -> None:
    """Refuse a backend that there is not, or whose package is missing, before a model is built on it.

    Raises:
        ValueError: If it is no backend.
        ImportError: If the backend's package is not installed.
    """
    check_choice("the attention backend", backend, AttentionBackend)
    if backend == "flash_attn":
        _flash_attn()


def attend(query: Queries, key: Keys, value: Keys, borders: Borders, backend: AttentionBackend) -> Queries:
    """Softmax attention inside each packed sequence, scaled by 1 / sqrt(head_dim).

    Key and value heads may be fewer than query heads: with a ratio of r, query heads 0 to r - 1 share the first.

    Args:
        query: Shape (tokens, heads, head_dim), as the result.
        key: Shape (tokens, kv_heads, head_dim).
        value: Shape (tokens, kv_heads, head_dim).
        borders: The sequences.
        backend: `"sdpa"` runs anywhere, sequences of one length together, and is the reference; `"varlen"` is torch's
            and `"flash_attn"` the flash-attn package's kernel for all sequences at once, both for float16 and
            bfloat16 on CUDA; `"auto"` is `"varlen"` where that works, else `"sdpa"`.

    Raises:
        ValueError: If the backend does not run on this device or dtype.
        ImportError: If the backend's package is not installed.
    """
    fused = query.is_cuda and query.dtype in (torch.float16, torch.bfloat16)
    if backend in ("varlen", "flash_attn") and not fused:
        raise ValueError(
            f'attention backend "{backend}" needs float16 or bfloat16 on CUDA, got {query.dtype} on '
            f'{query.device.type}; use "auto" or "sdpa"'
        )
    match backend:
        case "auto":
            return (_varlen if fused else _sdpa)(query, key, value, borders)
        case "sdpa":
            return _sdpa(query, key, value, borders)
        case "varlen":
            return _varlen(query, key, value, borders)
        case "flash_attn":
            offsets, longest = borders.offsets, borders.max_length
            return _flash_attn()(query, key, value, offsets, offsets, longest, longest)
        case _:
            assert_never(backend)


def _flash_attn() -> Callable[..., Tensor]:
    try:
        from flash_attn import flash_attn_varlen_func  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            'attention backend "flash_attn" needs the flash-attn package; '
            'install it with pip install "omnigen2[flash]", or use "auto"'
        ) from error
    return flash_attn_varlen_func


def _sdpa(query: Queries, key: Keys, value: Keys, borders: Borders) -> Queries:
    grouped_heads = query.shape[1] != key.shape[1]
    packed = (query, key, value)
    if borders.by_length is not None:
        packed = tuple(states.index_select(0, borders.by_length) for states in packed)
    spans = [length * count for length, count in borders.groups]
    outputs: list[Tensor] = []
    for (length, count), *parts in zip(borders.groups, *(states.split(spans) for states in packed), strict=True):
        q, k, v = (part.unflatten(0, (count, length)).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(q, k, v, enable_gqa=grouped_heads)
        outputs.append(attended.transpose(1, 2).flatten(0, 1))
    if borders.unsorted is None:
        return outputs[0] if outputs else query
    return torch.cat(outputs).index_select(0, borders.unsorted)


def _varlen(query: Queries, key: Keys, value: Keys, borders: Borders) -> Queries:
    ratio = query.shape[1] // key.shape[1]
    if ratio > 1 and not _VARLEN_GROUPS_HEADS:
        key, value = key.repeat_interleave(ratio, dim=1), value.repeat_interleave(ratio, dim=1)
    grouping = {"enable_gqa": ratio > 1} if _VARLEN_GROUPS_HEADS else {}
    offsets, longest = borders.offsets, borders.max_length
    return cast(Tensor, varlen_attn(query, key, value, offsets, offsets, longest, longest, **grouping))  # pyright: ignore[reportArgumentType]
