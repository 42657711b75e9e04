"""Transformer blocks: attention and a gated feed-forward between two norms each, with and without time modulation."""

from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from omnigen2.dit.attention import Attention
from omnigen2.dit.backends import Borders
from omnigen2.dit.fused import scaled_norm, silu_product
from omnigen2.dit.modulation import Modulation, ScaleGate
from omnigen2.layout import TokenIndex, TokenStates
from omnigen2.rope import Rotation


class SwiGLU(nn.Module):
    """`down(silu(gate(x)) * up(x))` without biases.

    Source: arXiv:2002.05202; in the released weights gate, down, up are `linear_1`, `linear_2`, `linear_3`.
    """

    def __init__(self, hidden_size: int, inner: int) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden_size, inner, bias=False)
        self.up = nn.Linear(hidden_size, inner, bias=False)
        self.down = nn.Linear(inner, hidden_size, bias=False)

    @override
    def forward(self, states: Float[Tensor, "*tokens hidden"]) -> Float[Tensor, "*tokens hidden"]:
        return self.down(silu_product(self.gate(states), self.up(states)))


class Sandwich(nn.Module):
    """The RMS norms in front of and behind a layer on a residual branch."""

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.before = nn.RMSNorm(hidden_size, eps=eps)
        self.after = nn.RMSNorm(hidden_size, eps=eps)

    def enter(self, states: TokenStates, modulation: ScaleGate | None, owner: TokenIndex | None) -> TokenStates:
        """The layer's input: the residual stream normalised, and scaled if there is a modulation."""
        weight = self.before.weight
        return scaled_norm(states, weight[None] if modulation is None else modulation.scale * weight, owner, self.eps)

    def leave(
        self, states: TokenStates, output: TokenStates, modulation: ScaleGate | None, owner: TokenIndex | None
    ) -> TokenStates:
        """The residual stream with the layer's output, normalised and gated, added."""
        weight = self.after.weight
        factor = weight[None] if modulation is None else modulation.gate * weight
        return scaled_norm(output, factor, owner, self.eps, states)


class Block(nn.Module):
    """Attention, then feed-forward; both on residual branches between two norms.

    The plain block refines text. It is also the body of `ModulatedBlock`.
    """

    def __init__(self, attention: Attention, feed_forward: SwiGLU, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norms = Sandwich(hidden_size, eps)
        self.feed_forward = feed_forward
        self.feed_forward_norms = Sandwich(hidden_size, eps)

    @override
    def forward(
        self,
        states: TokenStates,
        rotation: Rotation,
        borders: Borders,
        modulation: tuple[ScaleGate, ScaleGate] | None = None,
        owner: TokenIndex | None = None,
    ) -> TokenStates:
        """Transform tokens inside the borders; the modulations are the attention's and the feed-forward's."""
        first, second = modulation or (None, None)
        norms = self.attention_norms
        attended = self.attention(norms.enter(states, first, owner), rotation, borders)
        states = norms.leave(states, attended, first, owner)
        norms = self.feed_forward_norms
        return norms.leave(states, self.feed_forward(norms.enter(states, second, owner)), second, owner)


class ModulatedBlock(nn.Module):
    """A block whose branches are scaled and gated by the time: `x + tanh(g) norm(layer(norm(x) (1 + s)))`.

    Source: arXiv:2503.21758; the gates' tanh as in the released model.
    """

    def __init__(self, body: Block, modulation: Modulation) -> None:
        super().__init__()
        self.body = body
        self.modulation = modulation

    @override
    def forward(
        self,
        states: TokenStates,
        rotation: Rotation,
        borders: Borders,
        time: Float[Tensor, "samples time_size"],
        owner: TokenIndex,
    ) -> TokenStates:
        """Transform tokens at the time of their sample; `owner` says which that is."""
        return self.body(states, rotation, borders, self.modulation(time), owner)
