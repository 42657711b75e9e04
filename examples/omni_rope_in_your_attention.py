"""Omni-RoPE in an attention of your own, on the dense batch that you have.

A layout says what the tokens of each sample are. `pack_padded` takes them out of the dense batch, queries and keys are
turned by `apply_rotation`, and `unpack_padded` puts them back for any attention kernel.

    python examples/omni_rope_in_your_attention.py

Prints by how much the output changes when the positions or the padding change:

    all ids moved by 100:           9e-08  (attention sees differences of positions alone)
    padding on the left:            6e-08  (where the padding is does not matter)
    the edit without its neighbour: 6e-08  (nor does who else is in the batch)
    the two images' ids exchanged:  4e-02  (which image a token is in does)
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from omnigen2.layout import ImageSegment, Layout, PositionIds, TextSegment, pack_padded, unpack_padded
from omnigen2.rope import OmniPositions, RotaryEmbedding, apply_rotation


class YourAttention(nn.Module):
    """Multi-head self-attention over a dense batch, with three position axes in every head."""

    def __init__(self, heads: int = 4, axes: tuple[int, int, int] = (8, 12, 12)) -> None:
        super().__init__()
        self.rotary = RotaryEmbedding(axes)
        self.heads, hidden = heads, heads * self.rotary.head_dim
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.output = nn.Linear(hidden, hidden)

    def forward(
        self, states: Float[Tensor, "batch length hidden"], mask: Bool[Tensor, "batch length"], ids: PositionIds
    ) -> Float[Tensor, "batch length hidden"]:
        """Attend inside each sample; `ids` are those of the tokens alone, sample by sample."""
        tokens, _ = pack_padded(states, mask)
        query, key, value = self.query_key_value(tokens).unflatten(1, (3, self.heads, -1)).unbind(1)
        rotation = self.rotary(ids)
        query, key = apply_rotation(query, rotation), apply_rotation(key, rotation)
        query, key, value = (unpack_padded(part, mask).transpose(1, 2) for part in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        return self.output(mixed.transpose(1, 2).flatten(2))


class Changes(NamedTuple):
    """Largest change of the output, whose values are of the order of 0.1."""

    moved: float
    padded_left: float
    alone: float
    exchanged: float


def main() -> Changes:
    """Attend to two samples of different lengths, and again after each change."""
    torch.manual_seed(0)
    layout = Layout(
        (
            (TextSegment(5), ImageSegment(4, 4, "reference"), ImageSegment(4, 4, "target")),  # an edit
            (TextSegment(9), ImageSegment(2, 6, "target")),  # text to image
        )
    )
    attention = YourAttention()
    tokens = torch.randn(layout.tokens, 4 * 32)  # yours are dense already; here they come from nowhere
    ids = OmniPositions()(layout)

    def attend(layout: Layout, ids: PositionIds, mask: Bool[Tensor, "batch length"]) -> Float[Tensor, "tokens hidden"]:
        states = unpack_padded(tokens[: layout.tokens], mask)
        return pack_padded(attention(states, mask, ids), mask)[0]

    right, left = layout.samples.mask(length=50), layout.samples.mask(length=50, side="left")
    plain = attend(layout, ids, right)
    edit = Layout(layout.batch[:1])
    exchanged = ids.clone()
    exchanged[5:37] = ids[5:37].roll(16, 0)
    changes = Changes(
        moved=_change(plain, attend(layout, ids + 100, right)),
        padded_left=_change(plain, attend(layout, ids, left)),
        alone=_change(plain[: edit.tokens], attend(edit, ids[: edit.tokens], edit.samples.mask())),
        exchanged=_change(plain, attend(layout, exchanged, right)),
    )
    print(f"all ids moved by 100:           {changes.moved:.0e}  (attention sees differences of positions alone)")
    print(f"padding on the left:            {changes.padded_left:.0e}  (where the padding is does not matter)")
    print(f"the edit without its neighbour: {changes.alone:.0e}  (nor does who else is in the batch)")
    print(f"the two images' ids exchanged:  {changes.exchanged:.0e}  (which image a token is in does)")
    return changes


def _change(before: Tensor, after: Tensor) -> float:
    return (before - after).abs().max().item()


if __name__ == "__main__":
    main()
