"""The gated feed-forward layer."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def inner_size(hidden_size: int, multiple_of: int, multiplier: float | None = None) -> int:
    """Inner width of the released model's feed-forward layers.

    Four times the hidden size, times the multiplier (rounded down) if there is one, rounded up to a multiple.

    Args:
        hidden_size: Channels outside.
        multiple_of: What the result must be a multiple of.
        multiplier: An optional factor on 4 * hidden_size.

    Returns:
        Channels inside.
    """
    inner = 4 * hidden_size
    if multiplier is not None:
        inner = int(multiplier * inner)
    return -(-inner // multiple_of) * multiple_of


class SwiGLU(nn.Module):
    """`down(silu(gate(x)) * up(x))` without biases.

    Args:
        hidden_size: Channels outside.
        inner: Channels inside; see `inner_size`.

    Source: arXiv:2002.05202; in the released weights gate, down, up are `linear_1`, `linear_2`, `linear_3`.
    """

    def __init__(self, hidden_size: int, inner: int) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden_size, inner, bias=False)
        self.up = nn.Linear(hidden_size, inner, bias=False)
        self.down = nn.Linear(inner, hidden_size, bias=False)

    def forward(self, states: Float[Tensor, "*tokens hidden"]) -> Float[Tensor, "*tokens hidden"]:
        """Transform every token by itself.

        Args:
            states: Shape (..., hidden).

        Returns:
            Same shape.
        """
        return self.down(F.silu(self.gate(states)) * self.up(states))
