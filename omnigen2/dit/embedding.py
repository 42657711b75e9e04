"""Embeddings of the time and of the text features."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from omnigen2.layout import TokenStates

FREQUENCIES = 256
"""Channels of the sinusoid in front of the time embedding."""


def sinusoid(t: Float[Tensor, " samples"], scale: float) -> Float[Tensor, "samples frequencies"]:
    """Cosines, then sines, of `scale` times the time at 128 geometrically spaced frequencies, in float32.

    The frequencies are formed as `exp(-ln(10000) k / 128)`, in float32 like the official ones, whose last bits count:
    angles are up to a thousand times as large.
    """
    half = FREQUENCIES // 2
    exponent = -math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    angle = scale * (t.float()[:, None] * exponent.exp())
    return torch.cat((angle.cos(), angle.sin()), dim=1)


class TimeEmbedder(nn.Module):
    """A sinusoid of `scale` times the time (1000 in the released model) through a two-layer perceptron."""

    def __init__(self, size: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.linear_in = nn.Linear(FREQUENCIES, size)
        self.linear_out = nn.Linear(size, size)

    @override
    def forward(self, t: Float[Tensor, " samples"]) -> Float[Tensor, "samples size"]:
        """Embed times, in the dtype of the weights."""
        waves = sinusoid(t, self.scale).to(self.linear_in.weight.dtype)
        return self.linear_out(F.silu(self.linear_in(waves)))


class TextEmbedder(nn.Module):
    """Text features (states of the language model), normalised and projected to the transformer's width."""

    def __init__(self, text_dim: int, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(text_dim, eps=eps)
        self.linear = nn.Linear(text_dim, hidden_size)

    @override
    def forward(self, features: Float[Tensor, "tokens text_dim"]) -> TokenStates:
        return self.linear(self.norm(features))

    @torch.no_grad()
    def whiten(self, features: Float[Tensor, "tokens text_dim"], floor: float = 1e-4) -> None:
        """Let a new projection see features whose channels are uncorrelated and of unit variance.

        The states of a language model may share a few large directions, beside which words hardly differ; a new
        projection passes mostly those on, and the words are learned late. Afterwards the layer computes what it would
        have computed of whitened features; nothing is added to the model.

        Args:
            features: Of typical texts, more tokens than channels, shape (tokens, text_dim).
            floor: Variances below this share of the mean variance count as noise, and are not raised to one.

        Raises:
            ValueError: If there are fewer tokens than channels.
        """
        tokens, channels = features.shape
        if tokens < channels:
            raise ValueError(
                f"whitening needs at least as many tokens as channels ({channels}), got {tokens}; give more texts"
            )
        normed = self.norm(features.to(self.linear.weight)).double()
        mean = normed.mean(0)
        variances, axes = torch.linalg.eigh((normed - mean).T @ (normed - mean) / tokens)
        scales = (variances.clamp(min=0) + floor * variances.mean()).rsqrt()
        weight = self.linear.weight.double() @ (axes * scales) @ axes.T
        self.linear.weight.copy_(weight)
        self.linear.bias.sub_(weight @ mean)
