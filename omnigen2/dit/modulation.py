"""How the time acts on tokens: scales and gates per sample, spread over the sample's tokens."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from omnigen2.layout import TokenIndex, TokenStates


class _Spread(torch.autograd.Function):
    """Row `owner[i]` for token i. The gradient is one matrix product with the membership matrix.

    Indexing alone would do in the forward pass, but its gradient adds thousands of tokens onto a few rows one by
    one, in the dtype of the model and in an order of the device's choosing; the product accumulates in float32
    and is deterministic.
    """

    @staticmethod
    @override
    def forward(ctx: Any, values: Tensor, owner: Tensor) -> Tensor:
        ctx.save_for_backward(owner)
        ctx.samples = values.shape[0]
        return values.index_select(0, owner)

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (owner,) = ctx.saved_tensors
        (grad,) = grads
        members = torch.arange(ctx.samples, device=owner.device)[:, None] == owner
        return members.to(grad.dtype) @ grad, None


def spread(values: Float[Tensor, "samples channels"], owner: TokenIndex) -> Float[Tensor, "tokens channels"]:
    """Give every token the values of its sample, `owner`."""
    return _Spread.apply(values, owner)  # pyright: ignore[reportReturnType]


class ScaleGate(NamedTuple):
    """What the time does to one residual branch.

    Attributes:
        scale: The branch's normalised input is multiplied by it, around 1; shape (samples, hidden).
        gate: The branch's output is multiplied by it, in (-1, 1); shape (samples, hidden).
    """

    scale: Float[Tensor, "samples hidden"]
    gate: Float[Tensor, "samples hidden"]


class Modulation(nn.Module):
    """Scale and tanh gate of the attention and the feed-forward branch, from the time embedding.

    The linear layer starts at zero weights, so a new block is the identity unless `gate_bias`, the initial bias of both
    gates before their tanh (0 in the released model), opens them.

    Source: the order of the chunks (scale, gate, scale, gate) is that of the released weights.
    """

    def __init__(self, time_size: int, hidden_size: int, gate_bias: float = 0.0) -> None:
        super().__init__()
        self.gate_bias = gate_bias
        self.linear = nn.Linear(time_size, 4 * hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Zero weights; zero biases but for the gates'."""
        nn.init.zeros_(self.linear.weight)
        with torch.no_grad():
            self.linear.bias.view(2, 2, -1)[:, 0].fill_(0.0)
            self.linear.bias.view(2, 2, -1)[:, 1].fill_(self.gate_bias)

    @override
    def forward(self, time: Float[Tensor, "samples time_size"]) -> tuple[ScaleGate, ScaleGate]:
        """Scales and gates of every sample, of the attention branch and of the feed-forward branch.

        At least float32: next to 1, half as many digits would be left of a scale.
        """
        values = self.linear(F.silu(time))
        scale, gate, scale_2, gate_2 = values.to(torch.promote_types(values.dtype, torch.float32)).chunk(4, dim=1)
        return ScaleGate(1 + scale, gate.tanh()), ScaleGate(1 + scale_2, gate_2.tanh())


class OutputLayer(nn.Module):
    """Layer norm without weights, scaled by the time, and the projection to patches. Starts at zero output.

    In the released model `eps` is 1e-6 here, whatever the other norms use.
    """

    def __init__(self, time_size: int, hidden_size: int, patch_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size, eps=eps, elementwise_affine=False)
        self.scale = nn.Linear(time_size, hidden_size)
        self.linear = nn.Linear(hidden_size, patch_channels)

    @override
    def forward(
        self, states: TokenStates, time: Float[Tensor, "samples time_size"], owner: TokenIndex
    ) -> Float[Tensor, "tokens patch_channels"]:
        """Read the velocity off the target tokens."""
        scale = spread(1 + self.scale(F.silu(time)), owner)
        return self.linear(self.norm(states) * scale)
