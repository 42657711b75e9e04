"""A layout's indices and borders on the device: made once per batch, used by every step."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.dit.backends import Borders
from omnigen2.layout import Layout, SegmentKind, TokenIndex, TokenStates


class Routes(NamedTuple):
    """Where tokens go, and with whom they attend.

    Attributes:
        order: For each joint token, its row when texts, references and targets are stacked in that order.
        reference: Places of the reference tokens on the joint axis.
        target: Places of the target tokens on the joint axis.
        owner: The sample of each joint token.
        samples: Borders of joint attention.
        references: Borders of the references: each is refined alone.
        targets: Borders of the targets.
    """

    order: TokenIndex
    reference: TokenIndex
    target: TokenIndex
    owner: TokenIndex
    samples: Borders
    references: Borders
    targets: Borders

    @classmethod
    def of(cls, layout: Layout, device: torch.device) -> "Routes":
        """Derive all indices on the host and send them to the device.

        Args:
            layout: The packed batch.
            device: Where the model runs.

        Returns:
            The routes.
        """
        kinds: tuple[SegmentKind, ...] = ("text", "reference", "target")
        text, reference, target = (layout.indices(kind) for kind in kinds)
        order = torch.argsort(torch.cat((text, reference, target)))
        order, reference, target, owner = (
            index.to(device, non_blocking=True) for index in (order, reference, target, layout.samples.owners())
        )
        return cls(
            order=order,
            reference=reference,
            target=target,
            owner=owner,
            samples=Borders.of(layout.samples, device),
            references=Borders.of(layout.segments("reference"), device),
            targets=Borders.of(layout.segments("target"), device),
        )

    def join(self, *kinds: Float[Tensor, "_ hidden"]) -> TokenStates:
        """Put the three kinds of tokens together on the joint axis, sample by sample.

        Args:
            *kinds: Texts, references and targets, each of shape (its tokens, hidden).

        Returns:
            Shape (tokens, hidden).
        """
        return torch.cat(kinds).index_select(0, self.order)
