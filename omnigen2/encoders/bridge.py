"""From the hidden states of a vision-language model to packed text tokens."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from omnigen2.errors import check_choice
from omnigen2.layout import Ragged

TokenIds: TypeAlias = Int[Tensor, "batch length"]
"""Token ids of a padded batch."""
TokenMask: TypeAlias = Shaped[Tensor, "batch length"]
"""1 or True where a padded batch has a token."""
TokenRoles: TypeAlias = Int[Tensor, "batch length"]
"""What each token of a padded batch is, int8 values of `TokenRole`; always on the host."""
PaddedStates: TypeAlias = Float[Tensor, "_ _ dim"]
"""Hidden states of a padded batch, shape (batch, length, dim)."""

KeptTokens: TypeAlias = Literal["text", "all"]
KeptTemplate: TypeAlias = Literal["keep", "drop"]


class TokenRole(IntEnum):
    """What a token is."""

    PADDING = 0
    """Fills the batch; never kept."""
    TEMPLATE = 1
    """Written by the chat template: role names, the system prompt, borders of messages and images."""
    TEXT = 2
    """Written by a person, or by the model as its answer."""
    IMAGE = 3
    """Stands for a part of an image that the model sees."""


class PackedText(NamedTuple):
    """Kept hidden states behind one another, shape (tokens, dim), and where each sample starts.

    A sample may have length 0 when the template is dropped and the prompt is empty: leave its `TextSegment` out of the
    layout then.
    """

    states: Float[Tensor, "tokens dim"]
    borders: Ragged


@dataclass(frozen=True)
class HiddenStateBridge:
    """Chooses which hidden states of a vision-language model condition the diffusion transformer, and packs them.

    Works with any decoder-style model: all it needs is its last hidden states and what each token is. Lengths come
    from the roles, which stay on the host, so the device is never asked how long something is. The side of the
    padding does not matter.

    Attributes:
        tokens: `"text"` passes text tokens on and drops the states of image tokens, as the paper does (pictures
            reach the transformer through the VAE only); `"all"` passes both on.
        template: `"keep"` passes the template's own tokens on, system prompt included, as the released weights
            were trained; `"drop"` leaves only what people wrote.

    Source: arXiv:2506.18871, section 2.

    Example:
        >>> roles = torch.tensor([[1, 2, 3, 2, 0], [1, 2, 0, 0, 0]])
        >>> HiddenStateBridge()(torch.randn(2, 5, 8), roles).borders.lengths
        (3, 2)
    """

    tokens: KeptTokens = "text"
    template: KeptTemplate = "keep"

    def __post_init__(self) -> None:
        check_choice("tokens of HiddenStateBridge", self.tokens, KeptTokens)
        check_choice("template of HiddenStateBridge", self.template, KeptTemplate)

    def keeps(self, roles: TokenRoles) -> Bool[Tensor, "batch length"]:
        """True where the state of a token is passed on.

        Raises:
            ValueError: If the roles are not on the host, or are none.
        """
        if roles.device.type != "cpu":
            raise ValueError(
                f"token roles are on {roles.device}, but lengths must be known on the host; "
                "keep the roles of the batch on the CPU (`PromptBatch.to` does)"
            )
        if roles.numel() and roles.dtype is not torch.int8 and int(roles.max()) <= TokenRole.TEMPLATE:
            raise ValueError(
                f"got {roles.dtype} roles of nothing but 0 and 1, which is a mask: it says where tokens are, not what "
                "they are; token_roles makes roles of ids and a mask, of type int8"
            )
        kept = roles == TokenRole.TEXT
        if self.template == "keep":
            kept = kept | (roles == TokenRole.TEMPLATE)
        if self.tokens == "all":
            kept = kept | (roles == TokenRole.IMAGE)
        return kept

    def borders(self, roles: TokenRoles) -> Ragged:
        """Where samples begin on the packed axis, and so how many tokens each has: what a `Layout` needs."""
        return Ragged.of(int(length) for length in self.keeps(roles).sum(1).tolist())

    def __call__(self, states: PaddedStates, roles: TokenRoles) -> PackedText:
        """Pack the kept states of a batch: last hidden states after the final norm, on any device.

        Raises:
            ValueError: If states and roles differ in batch or length.
        """
        if states.shape[:2] != roles.shape:
            raise ValueError(
                f"hidden states have (batch, length) {tuple(states.shape[:2])}, roles have {tuple(roles.shape)}; "
                "both must come from the same padded batch"
            )
        index = self.keeps(roles).flatten().nonzero().squeeze(1)
        kept = states.flatten(0, 1).index_select(0, index.to(states.device, non_blocking=True))
        return PackedText(kept, self.borders(roles))


def token_roles(
    ids: TokenIds, attention_mask: TokenMask, image_ids: tuple[int, ...], template_ids: tuple[int, ...] = ()
) -> TokenRoles:
    """Roles for a model whose tokenizer is not ours, told by ids alone.

    Ids cannot tell the words of a system prompt from those of a user: everything that is neither an image (such as
    `<|image_pad|>`) nor listed as template (such as `<|im_start|>`) counts as text. `ChatTokenizer` knows more.
    Everything is on the host.
    """
    roles = torch.full_like(ids, TokenRole.TEXT, dtype=torch.int8)
    roles[torch.isin(ids, torch.tensor(template_ids, dtype=ids.dtype))] = TokenRole.TEMPLATE
    roles[torch.isin(ids, torch.tensor(image_ids, dtype=ids.dtype))] = TokenRole.IMAGE
    roles[~attention_mask.bool()] = TokenRole.PADDING
    return roles
