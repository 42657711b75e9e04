"""A layout's indices and borders on the device: made once per batch, used by every step."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnigen2.dit.backends import Borders
from omnigen2.layout import Layout, SegmentKind, TokenIndex, TokenStates
from omnigen2.rope import Rotation

Joint: TypeAlias = tuple[tuple[int, ...], ...]
"""For each joint sample, the segments it is made of: their numbers in the order of the layout."""


def own_segments(layout: Layout) -> Joint:
    """Every sample made of its own segments: nothing shared."""
    numbers = iter(range(len(layout.segments())))
    return tuple(tuple(next(numbers) for _ in sample) for sample in layout.batch)


def joint_layout(layout: Layout, joint: Joint) -> Layout:
    """The layout of the joint axis, where segments may stand in several samples.

    Raises:
        ValueError: If a number is out of range, or a segment is in no joint sample.
    """
    segments = [segment for sample in layout.batch for segment in sample]
    used = {number for sample in joint for number in sample}
    if used != set(range(len(segments))):
        raise ValueError(
            f"joint samples are made of the segments {sorted(used)}, but the layout has the segments 0 to "
            f"{len(segments) - 1}; use each of them at least once and no other"
        )
    return Layout(tuple(tuple(segments[number] for number in sample) for sample in joint))


class Pack(NamedTuple):
    """Sequences that blocks transform.

    Attributes:
        rotation: Of their tokens.
        borders: What attention does not cross.
        owner: For each token, the sample of the layout whose time it has; None where no time is seen.
    """

    rotation: Rotation
    borders: Borders
    owner: TokenIndex | None = None


class Routes(NamedTuple):
    """Where tokens go, and with whom they attend.

    Attributes:
        order: For each joint token, its row when texts, references and targets are stacked in that order.
        owner: For each joint token, the sample of the layout whose time it has.
        target: Places of the target tokens on the joint axis.
        text_place: The first place of each text token on the joint axis.
        reference_place: The first place of each reference token on the joint axis.
        target_place: The first place of each target token on the joint axis.
        samples: Borders of joint attention.
        references: Borders of the references: each is refined alone.
        targets: Borders of the targets.
        joint_targets: Number of target tokens of each joint sample; they are its last ones.
    """

    order: TokenIndex
    owner: TokenIndex
    target: TokenIndex
    text_place: TokenIndex
    reference_place: TokenIndex
    target_place: TokenIndex
    samples: Borders
    references: Borders
    targets: Borders
    joint_targets: tuple[int, ...]

    @classmethod
    def of(cls, layout: Layout, joint: Joint, device: torch.device) -> "Routes":
        """Derive all indices on the host and send them to the device."""
        together = joint_layout(layout, joint)
        kinds: tuple[SegmentKind, ...] = ("text", "reference", "target")
        text, reference, target = (layout.indices(kind) for kind in kinds)
        source = _sources(layout, joint)
        order = torch.argsort(torch.cat((text, reference, target)))[source]
        place = _first_places(source, layout.tokens)
        indices = (order, _time_owners(layout, joint)[together.samples.owners()], together.indices("target"))
        places = (place[text], place[reference], place[target])
        return cls(
            *(index.to(device, non_blocking=True) for index in (*indices, *places)),
            samples=Borders.of(together.samples, device),
            references=Borders.of(layout.segments("reference"), device),
            targets=Borders.of(layout.segments("target"), device),
            joint_targets=together.per_sample("target").lengths,
        )

    def join(self, *kinds: Float[Tensor, "_ hidden"]) -> TokenStates:
        """Put texts, references and targets together on the joint axis, sample by sample."""
        return torch.cat(kinds).index_select(0, self.order)


def _first_places(source: TokenIndex, tokens: int) -> Int[Tensor, " layout_tokens"]:
    # Where each token of the layout stands first on the joint axis, given which token each joint token is.
    places = torch.arange(len(source))
    return places.new_full((tokens,), len(source)).scatter_reduce(0, source, places, "amin")


def _sources(layout: Layout, joint: Joint) -> TokenIndex:
    # For each joint token, the token of the layout it is.
    offsets = layout.segments().offsets
    numbers: Sequence[int] = [number for sample in joint for number in sample]
    return torch.cat([torch.arange(offsets[number], offsets[number + 1]) for number in numbers])


def _time_owners(layout: Layout, joint: Joint) -> TokenIndex:
    # For each joint sample, the sample of the layout that its last segment (its target, if it has one) belongs to.
    samples = [number for number, sample in enumerate(layout.batch) for _ in sample]
    return torch.tensor([samples[numbers[-1]] for numbers in joint])
