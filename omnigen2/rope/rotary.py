"""Rotations: from position ids to cosines and sines, and from those to rotated queries and keys."""

from math import isfinite
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from omnigen2.layout import PositionIds, TokenIndex

Heads: TypeAlias = Float[Tensor, "*batch tokens heads head_dim"]


class Rotation(NamedTuple):
    """One rotation per token and channel pair.

    Attributes:
        cos: float32, shape (tokens, head_dim / 2).
        sin: float32, shape (tokens, head_dim / 2).
    """

    cos: Float[Tensor, "tokens half_dim"]
    sin: Float[Tensor, "tokens half_dim"]

    def take(self, index: TokenIndex) -> "Rotation":
        """The rotations of some tokens."""
        return Rotation(self.cos[index], self.sin[index])


class RotaryEmbedding(nn.Module):
    r"""Rotation angles of several position axes side by side.

    Axis a with d_a channels owns d_a / 2 channel pairs and turns pair k by the angle `id_a * theta^(-2 k / d_a)`.
    The angles are formed for the ids at hand, in float64, so there is no table and no largest position; float32
    angles would be wrong in the fourth decimal at position 10,000, and bfloat16 ones meaningless.

    Args:
        axes: Channels per axis (instance, row, column). Each even and at least 2; their sum is the head dimension.
        theta: Base of the geometric series of wavelengths, above 1.

    Source: arXiv:2104.09864 (RoPE), axes as in arXiv:2506.18871.
    """

    def __init__(self, axes: tuple[int, int, int], theta: float = 10000.0) -> None:
        super().__init__()
        if len(axes) != 3 or not all(type(axis) is int for axis in axes):
            raise ValueError(f"RotaryEmbedding needs channels of three axes (instance, row, column), got {axes!r}")
        if any(axis < 2 or axis % 2 for axis in axes):
            raise ValueError(f"RotaryEmbedding axes must be even and at least 2, got {axes}; channels turn in pairs")
        if not (isfinite(theta) and theta > 1):
            raise ValueError(f"RotaryEmbedding theta must be above 1, got {theta}; 10000 is usual")
        self.axes = axes
        self.theta = theta

    @property
    def head_dim(self) -> int:
        """Channels per attention head."""
        return sum(self.axes)

    @override
    def forward(self, position_ids: PositionIds) -> Rotation:
        """Rotation of every token; for a device without float64 (MPS) pass CPU ids and move the result."""
        angles: list[Tensor] = []
        for ids, channels in zip(position_ids.unbind(1), self.axes, strict=True):
            exponent = torch.arange(0, channels, 2, dtype=torch.float64, device=position_ids.device) / channels
            angles.append(torch.outer(ids.double(), self.theta**-exponent))
        angle = torch.cat(angles, dim=1)
        return Rotation(angle.cos().float(), angle.sin().float())

    @override
    def extra_repr(self) -> str:
        return f"axes={self.axes}, theta={self.theta}"


def apply_rotation(states: Heads, rotation: Rotation) -> Heads:
    """Turn the channel pairs (0, 1), (2, 3), … of every query or key head by the token's rotation, in float32.

    Args:
        states: Queries or keys, packed, (tokens, heads, head_dim), or of a dense batch whose samples all stand at the
            same places, (batch, tokens, heads, head_dim). Tokens come before heads.
        rotation: One rotation per token, of as many channel pairs as a head has.

    Raises:
        ValueError: If the shapes do not fit, or those of a dense batch do not tell tokens from heads.
    """
    tokens, half_dim = rotation.cos.shape
    if states.ndim not in (3, 4) or states.shape[-3] != tokens or states.shape[-1] != 2 * half_dim:
        raise ValueError(
            f"apply_rotation got states of shape {tuple(states.shape)} and rotations of {tokens} tokens with "
            f"{half_dim} channel pairs; expected ({tokens}, heads, {2 * half_dim}), tokens before heads"
        )
    if states.ndim == 4 and states.shape[1] == states.shape[2]:
        raise ValueError(
            f"apply_rotation got a dense batch of shape {tuple(states.shape)}, which does not say whether tokens or "
            "heads come first; pack it: (tokens, heads, head_dim), a rotation for each token"
        )
    compiled = torch.compiler.is_compiling()  # inductor leaves complex numbers alone
    turn = turn_complex if states.device.type == "cpu" and not compiled else turn_pairs
    return turn(states.float(), rotation).type_as(states)


def turn_pairs(states: Heads, rotation: Rotation) -> Heads:
    """Elementwise products alone: what a compiler fuses into the kernels around it."""
    cos = rotation.cos.repeat_interleave(2, dim=-1).unsqueeze(1)
    sin = torch.stack((-rotation.sin, rotation.sin), dim=-1).flatten(-2).unsqueeze(1)
    swapped = states.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return states * cos + swapped * sin


def turn_complex(states: Heads, rotation: Rotation) -> Heads:
    """One complex product: several times faster where nothing is fused."""
    pairs = torch.view_as_complex(states.unflatten(-1, (-1, 2)))
    turned = pairs * torch.complex(rotation.cos, rotation.sin).unsqueeze(1)
    return torch.view_as_real(turned).flatten(-2)
