"""The elementwise work of a block, in few passes over memory, keeping little for the backward pass.

Each function keeps the tensors it is given and at most one number per row, and computes the rest again. On a CPU it
goes through the tokens piece by piece, so that what lies between its steps never leaves the processor's cache; no
scales are spread over all tokens. Numbers in between are at least float32. Under `torch.compile` the plain formulas
stand in their place, which the compiler fuses itself. Gradients of gradients are refused.
"""

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from typing_extensions import override

from omnigen2.dit.modulation import spread
from omnigen2.layout import TokenIndex, TokenStates
from omnigen2.rope import Rotation, apply_rotation

Heads = Float[Tensor, "tokens heads head_dim"]

PIECE = 2**17
"""Elements of a piece on a CPU: a few tensors of so many float32 numbers fit into the caches of two cores."""


def scaled_norm(
    states: TokenStates,
    factor: Float[Tensor, "samples hidden"],
    owner: TokenIndex | None,
    eps: float,
    residual: TokenStates | None = None,
) -> TokenStates:
    """`states / rms(states) * factor[owner]`, added to the residual stream if one is given.

    Args:
        states: What is normalised.
        factor: The norm's weight times the scale or gate of each sample; one row for all if there is no owner.
        owner: Each token's row.
        eps: Added to the mean square.
        residual: The residual stream.

    Returns:
        Under autocast its dtype, which the next product wants, but float32 if it is the residual stream; otherwise the
        dtype of `states`, or of the residual stream.
    """
    device, dtype = states.device.type, states.dtype if residual is None else residual.dtype
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device) if residual is None else torch.promote_types(dtype, torch.float32)
    if torch.compiler.is_compiling():
        normed = _normed(states, eps) * (factor if owner is None else spread(factor, owner))
        return (normed if residual is None else residual + normed).to(dtype)
    return _ScaledNorm.apply(states, factor, owner, residual, eps, dtype)  # pyright: ignore[reportReturnType]


def turned_norm(states: Heads, weight: Float[Tensor, " head_dim"], rotation: Rotation, eps: float) -> Heads:
    """Queries or keys, each head normalised and turned by its token's rotation, in the dtype they come in."""
    if torch.compiler.is_compiling():
        return apply_rotation(_normed(states, eps) * weight, rotation).to(states.dtype)
    return _TurnedNorm.apply(states, weight, rotation.cos, rotation.sin, eps)  # pyright: ignore[reportReturnType]


def silu_product(
    gate: Float[Tensor, "*tokens inner"], up: Float[Tensor, "*tokens inner"]
) -> Float[Tensor, "*tokens inner"]:
    """`silu(gate) * up`."""
    if torch.compiler.is_compiling():
        return F.silu(gate) * up
    return _SiluProduct.apply(gate, up)  # pyright: ignore[reportReturnType]


def _normed(states: Tensor, eps: float) -> Tensor:
    wide = states.to(_wide(states))
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)


def _wide(states: Tensor) -> torch.dtype:
    return torch.promote_types(states.dtype, torch.float32)


def _pieces(first: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Views of some of the rows of all tensors at a time; None stays None."""
    rows = max(1, PIECE // max(1, first[:1].numel()) if first.device.type == "cpu" else len(first))
    return zip(first.split(rows), *(repeat(None) if one is None else one.split(rows) for one in others), strict=False)


def _norm_gradient(grad: Tensor, states: Tensor, inverse: Tensor, factor: Tensor, out: Tensor) -> Tensor:
    """Write the gradient of the states of `states * inverse * factor`; return that of the factor, row by row."""
    normed = states * inverse
    by_row = grad * normed
    along = (by_row * factor).mean(-1, keepdim=True)
    torch.mul(torch.addcmul(grad * factor, normed, along, value=-1), inverse, out=out)
    return by_row


class _ScaledNorm(torch.autograd.Function):
    @staticmethod
    @override
    def forward(
        ctx: Any,
        states: Tensor,
        factor: Tensor,
        owner: Tensor | None,
        residual: Tensor | None,
        eps: float,
        dtype: torch.dtype,
    ) -> Tensor:
        wide = _wide(states)
        factor = factor.to(wide)
        out = torch.empty_like(states, dtype=dtype)
        inverse = states.new_empty((len(states), 1), dtype=wide)
        for x, index, base, r, y in _pieces(states, owner, residual, inverse, out):
            x = x.to(wide)
            norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            torch.rsqrt(norm.square_().div_(x.shape[-1]).add_(eps), out=r)
            by = factor if index is None else factor.index_select(0, index)
            if base is None:
                torch.mul(x * r, by, out=y)
            else:
                torch.addcmul(base, x * r, by, out=y)
        ctx.save_for_backward(states, factor, owner, inverse)
        ctx.residual = None if residual is None else residual.dtype
        return out

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        states, factor, owner, inverse = ctx.saved_tensors
        (grad,) = grads
        grad_states, grad_factor = torch.empty_like(states), torch.zeros_like(factor)
        samples = torch.arange(len(factor), device=factor.device)[:, None]
        for x, g, index, r, out in _pieces(states, grad, owner, inverse, grad_states):
            by = factor if index is None else factor.index_select(0, index)
            by_row = _norm_gradient(g.to(factor.dtype), x.to(factor.dtype), r, by, out)
            members = by_row.new_ones((1, len(x))) if index is None else (samples == index).to(factor.dtype)
            grad_factor.addmm_(members, by_row)
        return grad_states, grad_factor, None, None if ctx.residual is None else grad.to(ctx.residual), None, None


class _TurnedNorm(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, states: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
        wide = _wide(states)
        weight = weight.to(wide)
        out = torch.empty(states.shape, dtype=states.dtype, device=states.device)
        inverse = states.new_empty((*states.shape[:-1], 1), dtype=wide)
        for x, c, s, r, y in _pieces(states, cos, sin, inverse, out):
            x = x.to(wide)
            norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            torch.rsqrt(norm.square_().div_(x.shape[-1]).add_(eps), out=r)
            y.copy_(apply_rotation((x * r).mul_(weight), Rotation(c, s)))
        ctx.save_for_backward(states, weight, cos, sin, inverse)
        return out

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        states, weight, cos, sin, inverse = ctx.saved_tensors
        (grad,) = grads
        grad_states, grad_weight = torch.empty_like(states), torch.zeros_like(weight)
        for x, g, c, s, r, out in _pieces(states, grad, cos, sin, inverse, grad_states):
            back = apply_rotation(g.to(weight.dtype), Rotation(c, -s))
            grad_weight += _norm_gradient(back, x.to(weight.dtype), r, weight, out).sum((0, 1))
        return grad_states, grad_weight, None, None, None


class _SiluProduct(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        out = torch.empty_like(up)
        for g, u, y in _pieces(gate, up, out):
            torch.ops.aten.silu.out(g, out=y)
            y.mul_(u)
        ctx.save_for_backward(gate, up)
        return out

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gate, up = ctx.saved_tensors
        grad_gate, grad_up = torch.empty_like(gate), torch.empty_like(up)
        for y, g, u, grad_g, grad_u in _pieces(grads[0], gate, up, grad_gate, grad_up):
            torch.ops.aten.silu_backward.grad_input(y * u, g, grad_input=grad_g)
            torch.ops.aten.silu.out(g, out=grad_u)
            grad_u.mul_(y)
        return grad_gate, grad_up
