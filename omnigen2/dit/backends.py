"""Attention over packed sequences: one function, several kernels."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias, assert_never, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from typing_extensions import override

from omnigen2.errors import check_choice
from omnigen2.layout import Offsets, Ragged, TokenIndex

AttentionBackend: TypeAlias = Literal["auto", "sdpa", "varlen", "flash_attn"]
Queries: TypeAlias = Float[Tensor, "tokens heads head_dim"]
Keys: TypeAlias = Float[Tensor, "tokens kv_heads head_dim"]

_VARLEN_GROUPS_HEADS = not torch.__version__.startswith("2.11")
"""torch 2.11 cannot share key and value heads in `varlen_attn`; there they are repeated."""

SHORT = 64
"""Below this length the products of bfloat16 sequences on a CPU are of float32, which costs less than to convert."""

LONG = 1024
"""Up to this length bfloat16 sequences are attended to by explicit products on a CPU. The probabilities, which are kept
for the backward pass, are then fewer than the activations of a block; torch's kernel keeps none, but its bfloat16 is no
faster than its float32."""

PIECE = 2**18
"""Scores that are computed at a time on a CPU: they stay in a core's cache."""


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

    @property
    def sorted(self) -> "Borders":
        """The borders of the same sequences where their tokens stand in the order of `by_length`."""
        empty = (0,) * (len(self.lengths) - sum(count for _, count in self.groups))
        lengths = empty + tuple(length for length, count in self.groups for _ in range(count))
        offsets = torch.sort(self.offsets.diff()).values.cumsum(0, dtype=self.offsets.dtype)
        return Borders(lengths, F.pad(offsets, (1, 0)), self.max_length, self.groups, None, None)


def goes_by_length(backend: AttentionBackend, states: Tensor) -> bool:
    """Whether `attend` sorts such tokens by the length of their sequences, which whoever calls it often does once."""
    return backend == "sdpa" or not states.is_cuda


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
        backend: `"sdpa"` runs anywhere, sequences of one length together, and is the reference (bfloat16 on a CPU by
            explicit products, with scores in float32); `"varlen"` is torch's and `"flash_attn"` the flash-attn
            package's kernel for all sequences at once, both for float16 and bfloat16 on CUDA; `"auto"` is `"varlen"`
            where that works, else `"sdpa"`.

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
    packed = (query, key, value)
    if borders.by_length is not None:
        packed = tuple(states.index_select(0, borders.by_length) for states in packed)
    spans = [length * count for length, count in borders.groups]
    outputs: list[Tensor] = []
    for (length, count), *parts in zip(borders.groups, *(states.split(spans) for states in packed), strict=True):
        q, k, v = (part.unflatten(0, (count, length)) for part in parts)
        outputs.append((_by_products(q, k, v) if _is_for_products(q) else _by_kernel(q, k, v)).flatten(0, 1))
    if len(outputs) < 2:
        return outputs[0] if outputs else query
    joined = torch.cat(outputs)
    return joined if borders.unsorted is None else joined.index_select(0, borders.unsorted)


def _by_kernel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    grouped_heads = query.shape[2] != key.shape[2]
    q, k, v = (states.transpose(1, 2) for states in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=grouped_heads).transpose(1, 2)


def _is_for_products(query: Tensor) -> bool:
    """Whether sequences, shape (sequences, length, heads, head_dim), are attended to by explicit products."""
    if query.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return query.dtype == torch.bfloat16 and query.shape[1] <= LONG


def _by_products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return _Products.apply(query, key, value)  # pyright: ignore[reportReturnType]


class _Products(torch.autograd.Function):
    """Softmax attention written out: shapes (sequences, length, heads, head_dim).

    Query heads that share a key head are one matrix. Scores are at least float32, as they are inside of a fused kernel:
    rounded to bfloat16, they would double its error. The other products are of the dtype of the queries, but of float32
    where sequences are short and converting costs less than it brings.
    """

    @staticmethod
    @override
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        wide = torch.promote_types(query.dtype, torch.float32)
        dtype, scale = wide if query.shape[1] < SHORT else query.dtype, query.shape[3] ** -0.5
        q, k, v = (_by_key_head(states, key.shape[2], dtype) for states in (query, key, value))
        probabilities, out = q.new_empty((*q.shape[:2], k.shape[1])), torch.empty_like(q)
        with torch.autocast("cpu", enabled=False):
            for some_q, some_k, some_v, p, o in _pieces(q, k, v, probabilities, out):
                scores = torch.bmm(some_q.to(wide) * scale, some_k.to(wide).transpose(1, 2))
                p.copy_(scores.softmax(-1))
                torch.bmm(p, some_v, out=o)
        ctx.save_for_backward(q, k, v, probabilities)
        return _by_token(out, query)

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (grad,), saved = grads, ctx.saved_tensors
        scale, grad_out = grad.shape[3] ** -0.5, _by_key_head(grad, len(saved[0]) // len(grad), saved[0].dtype)
        gradients = [torch.empty_like(states) for states in saved[:3]]
        with torch.autocast("cpu", enabled=False):
            for q, k, v, p, g, of_q, of_k, of_v in _pieces(*saved, grad_out, *gradients):
                torch.bmm(p.transpose(1, 2), g, out=of_v)
                of_p = torch.bmm(g, v.transpose(1, 2))
                of_scores = torch.ops.aten._softmax_backward_data(of_p, p, -1, p.dtype).mul_(scale)
                torch.bmm(of_scores, k, out=of_q)
                torch.bmm(of_scores.transpose(1, 2), q, out=of_k)
        return tuple(_by_token(states, grad) for states in gradients)


def _by_key_head(states: Tensor, kv_heads: int, dtype: torch.dtype) -> Tensor:
    """A contiguous copy of shape (sequences and key heads, heads that share it and tokens, head_dim)."""
    by_head = states.unflatten(2, (kv_heads, -1)).permute(0, 2, 3, 1, 4)
    return torch.empty(by_head.shape, dtype=dtype).copy_(by_head).flatten(2, 3).flatten(0, 1)


def _by_token(states: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_by_key_head`, with the sequences and the dtype of another tensor."""
    count, length = like.shape[:2]
    by_token = states.view(count, -1, states.shape[1] // length, length, states.shape[2]).permute(0, 3, 1, 2, 4)
    return torch.empty(by_token.shape, dtype=like.dtype).copy_(by_token).flatten(2, 3)


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Some sequences and key heads of all tensors at a time."""
    size = max(1, PIECE // (tensors[0].shape[1] * tensors[1].shape[1]))
    return zip(*(states.split(size) for states in tensors), strict=True)


def _varlen(query: Queries, key: Keys, value: Keys, borders: Borders) -> Queries:
    from torch.nn.attention.varlen import varlen_attn  # which imports torch._dynamo

    ratio = query.shape[1] // key.shape[1]
    if ratio > 1 and not _VARLEN_GROUPS_HEADS:
        key, value = key.repeat_interleave(ratio, dim=1), value.repeat_interleave(ratio, dim=1)
    grouping = {"enable_gqa": ratio > 1} if _VARLEN_GROUPS_HEADS else {}
    offsets, longest = borders.offsets, borders.max_length
    return cast(Tensor, varlen_attn(query, key, value, offsets, offsets, longest, longest, **grouping))  # pyright: ignore[reportArgumentType]
