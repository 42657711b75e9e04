"""Transformer blocks: attention and feed-forward between two norms each, with and without time modulation."""

from jaxtyping import Float
from torch import Tensor, nn

from omnigen2.dit.attention import Attention
from omnigen2.dit.backends import Borders
from omnigen2.dit.feed_forward import SwiGLU
from omnigen2.dit.modulation import Modulation, ScaleGate
from omnigen2.layout import TokenIndex, TokenStates
from omnigen2.rope import Rotation


class Sandwich(nn.Module):
    """The RMS norms in front of and behind a layer on a residual branch.

    Args:
        hidden_size: Channels of the tokens.
        eps: Of both norms.
    """

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.before = nn.RMSNorm(hidden_size, eps=eps)
        self.after = nn.RMSNorm(hidden_size, eps=eps)

    def enter(self, states: TokenStates, modulation: ScaleGate | None) -> TokenStates:
        """The layer's input: normalised, and scaled if there is a modulation.

        Args:
            states: The residual stream, shape (tokens, hidden).
            modulation: The time's effect on this branch.

        Returns:
            Same shape.
        """
        normalised = self.before(states)
        return normalised if modulation is None else normalised * modulation.scale

    def leave(self, states: TokenStates, output: TokenStates, modulation: ScaleGate | None) -> TokenStates:
        """The residual stream with the layer's output, normalised and gated, added.

        Args:
            states: The residual stream, shape (tokens, hidden).
            output: What the layer made of it.
            modulation: The time's effect on this branch.

        Returns:
            Same shape.
        """
        normalised = self.after(output)
        return states + (normalised if modulation is None else modulation.gate * normalised)


class Block(nn.Module):
    """Attention, then feed-forward; both on residual branches between two norms.

    The plain block refines text. It is also the body of `ModulatedBlock`.

    Args:
        attention: The attention layer.
        feed_forward: The feed-forward layer.
        hidden_size: Channels of the tokens.
        eps: Of the norms.
    """

    def __init__(self, attention: Attention, feed_forward: SwiGLU, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norms = Sandwich(hidden_size, eps)
        self.feed_forward = feed_forward
        self.feed_forward_norms = Sandwich(hidden_size, eps)

    def forward(
        self,
        states: TokenStates,
        rotation: Rotation,
        borders: Borders,
        modulation: tuple[ScaleGate, ScaleGate] | None = None,
    ) -> TokenStates:
        """Transform tokens.

        Args:
            states: Shape (tokens, hidden).
            rotation: Of the same tokens.
            borders: The sequences inside which tokens attend to one another.
            modulation: For the attention and for the feed-forward branch.

        Returns:
            Same shape.
        """
        first, second = modulation or (None, None)
        norms = self.attention_norms
        states = norms.leave(states, self.attention(norms.enter(states, first), rotation, borders), first)
        norms = self.feed_forward_norms
        return norms.leave(states, self.feed_forward(norms.enter(states, second)), second)


class ModulatedBlock(nn.Module):
    """A block whose branches are scaled and gated by the time: `x + tanh(g) norm(layer(norm(x) (1 + s)))`.

    Args:
        body: The block.
        modulation: From the time embedding to scales and gates.

    Source: arXiv:2503.21758; the gates' tanh as in the released model.
    """

    def __init__(self, body: Block, modulation: Modulation) -> None:
        super().__init__()
        self.body = body
        self.modulation = modulation

    def forward(
        self,
        states: TokenStates,
        rotation: Rotation,
        borders: Borders,
        time: Float[Tensor, "samples time_size"],
        owner: TokenIndex,
    ) -> TokenStates:
        """Transform tokens at the time of their sample.

        Args:
            states: Shape (tokens, hidden).
            rotation: Of the same tokens.
            borders: The sequences inside which tokens attend to one another.
            time: Time embedding, shape (samples, time_size).
            owner: The sample of each token, shape (tokens,).

        Returns:
            Same shape.
        """
        return self.body(states, rotation, borders, self.modulation(time, owner))
