"""One packed batch, described on the host before anything reaches the device.

A batch of samples of different lengths is laid out on a single token axis, sample after sample and, inside a
sample, text first, then the references, then the target. A `Layout` is that plan as frozen Python data: it is
made once, at collate time, and everything that depends on lengths (positions, attention borders, indices) is
derived from it, so that no `forward` ever has to ask the device how long something is.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

TokenStates: TypeAlias = Float[Tensor, "tokens hidden"]
"""Hidden states of packed tokens."""
PositionIds: TypeAlias = Int[Tensor, "tokens 3"]
"""(instance, row, column) of packed tokens."""
TokenIndex: TypeAlias = Int[Tensor, " tokens"]
"""One integer per packed token, such as the sample it belongs to."""
Offsets: TypeAlias = Int[Tensor, " borders"]
"""Cumulative lengths, starting with 0: what variable-length attention kernels call `cu_seqlens`."""

ImageRole: TypeAlias = Literal["reference", "target"]
SegmentKind: TypeAlias = Literal["text", "reference", "target"]


@dataclass(frozen=True, slots=True)
class TextSegment:
    """A run of text tokens.

    Attributes:
        length: Number of tokens, at least 1.
    """

    length: int

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"TextSegment length must be at least 1 token, got {self.length}; leave empty text out")

    @property
    def kind(self) -> SegmentKind:
        """Always `"text"`."""
        return "text"

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.length


@dataclass(frozen=True, slots=True)
class ImageSegment:
    """The tokens of one image, row by row.

    Attributes:
        height: Height in tokens (latent pixels divided by the patch size), at least 1.
        width: Width in tokens, at least 1.
        role: `"reference"` for an image that is given, `"target"` for the one that is generated.
    """

    height: int
    width: int
    role: ImageRole

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(
                f"ImageSegment needs at least 1x1 tokens, got height {self.height} and width {self.width}; "
                "the image is smaller than one patch, enlarge it"
            )

    @property
    def kind(self) -> SegmentKind:
        """The image's role."""
        return self.role

    @property
    def tokens(self) -> int:
        """Number of tokens, height times width."""
        return self.height * self.width


Segment: TypeAlias = TextSegment | ImageSegment


@dataclass(frozen=True, slots=True)
class Ragged:
    """Borders of consecutive sequences on one packed axis.

    Attributes:
        offsets: Where each sequence starts, and at the end the total: `(0, l_0, l_0 + l_1, …)`.
        max_length: Length of the longest sequence, 0 when there is none.
    """

    offsets: tuple[int, ...]
    max_length: int

    @classmethod
    def of(cls, lengths: Iterable[int]) -> "Ragged":
        """Borders of sequences with these lengths."""
        lengths = tuple(lengths)
        return cls(tuple(accumulate(lengths, initial=0)), max(lengths, default=0))

    @property
    def total(self) -> int:
        """Number of tokens in all sequences."""
        return self.offsets[-1]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Length of each sequence."""
        return tuple(end - start for start, end in zip(self.offsets, self.offsets[1:], strict=False))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def owners(self, device: torch.device | None = None) -> TokenIndex:
        """The number of the sequence that each token belongs to.

        Returns:
            int64, shape (total,).
        """
        lengths = torch.tensor(self.lengths, dtype=torch.int64)
        return torch.repeat_interleave(torch.arange(len(self)), lengths, output_size=self.total).to(device)


@dataclass(frozen=True)
class Layout:
    """The plan of a packed batch.

    Attributes:
        batch: One tuple of segments per sample, in the order text, references, target. Each part may be
            missing, but not all of them. Several texts or targets in one sample are refused.

    Raises:
        ValueError: If a sample is empty or its segments are in another order.

    Example:
        >>> layout = Layout(((TextSegment(5), ImageSegment(2, 3, "reference"), ImageSegment(4, 4, "target")),))
        >>> layout.tokens, layout.samples.offsets, layout.segments("target").lengths
        (27, (0, 27), (16,))
    """

    batch: tuple[tuple[Segment, ...], ...]

    def __post_init__(self) -> None:
        if not self.batch:
            raise ValueError("Layout needs at least one sample, got an empty batch")
        order: tuple[SegmentKind, ...] = ("text", "reference", "target")
        for number, sample in enumerate(self.batch):
            kinds = [segment.kind for segment in sample]
            if not kinds:
                raise ValueError(f"sample {number} of the Layout has no segments; give it text or an image")
            if sorted(kinds, key=order.index) != kinds or kinds.count("text") > 1 or kinds.count("target") > 1:
                raise ValueError(
                    f"sample {number} of the Layout has segments {kinds}; expected at most one text, "
                    "then any number of references, then at most one target"
                )

    @classmethod
    def join(cls, layouts: Iterable["Layout"]) -> "Layout":
        """The samples of several layouts behind one another."""
        return cls(tuple(sample for layout in layouts for sample in layout.batch))

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def tokens(self) -> int:
        """Number of tokens in the batch."""
        return self.samples.total

    @cached_property
    def samples(self) -> Ragged:
        """Borders of the samples: what joint attention must not cross."""
        return Ragged.of(sum(segment.tokens for segment in sample) for sample in self.batch)

    def segments(self, kind: SegmentKind | None = None) -> Ragged:
        """Borders of the segments of one kind, or of all, when these tokens alone are packed.

        These are the attention borders of a refiner: a text, a reference or a target sees only itself.

        Args:
            kind: `"text"`, `"reference"` or `"target"`; all segments by default.
        """
        return Ragged.of(segment.tokens for segment in self._each() if kind in (None, segment.kind))

    def per_sample(self, kind: SegmentKind) -> Ragged:
        """Borders of the samples when the tokens of one kind alone are packed (empty where a sample has none)."""
        return Ragged.of(sum(s.tokens for s in sample if s.kind == kind) for sample in self.batch)

    def images(self, role: ImageRole) -> tuple[ImageSegment, ...]:
        """All images of one role, sample by sample."""
        return tuple(s for s in self._each() if isinstance(s, ImageSegment) and s.role == role)

    def indices(self, kind: SegmentKind, device: torch.device | None = None) -> TokenIndex:
        """Where the tokens of one kind stand on the packed axis, in order.

        Returns:
            int64, shape (tokens of that kind,).
        """
        starts = self.segments().offsets
        spans = [
            torch.arange(start, start + segment.tokens)
            for start, segment in zip(starts, self._each(), strict=False)
            if segment.kind == kind
        ]
        return (torch.cat(spans) if spans else torch.empty(0, dtype=torch.int64)).to(device)

    def reference_numbers(self, device: torch.device | None = None) -> TokenIndex:
        """For each reference token, which reference of its sample it belongs to: 0 for the first.

        Returns:
            int64, shape (reference tokens,).
        """
        numbers: list[int] = []
        for sample in self.batch:
            numbers.extend(range(sum(segment.kind == "reference" for segment in sample)))
        owners = self.segments("reference").owners()
        return torch.tensor(numbers, dtype=torch.int64)[owners].to(device)

    def _each(self) -> Iterator[Segment]:
        return (segment for sample in self.batch for segment in sample)


def pack(sequences: Sequence[Shaped[Tensor, "_ *channels"]], borders: Ragged) -> Shaped[Tensor, "_ *channels"]:
    """Lay sequences behind one another on the packed axis.

    Args:
        sequences: One tensor per sequence, shape (length, ...).
        borders: The planned borders, such as `layout.segments("target")`.

    Returns:
        Shape (tokens, ...).

    Raises:
        ValueError: If the sequences do not have the planned lengths.
    """
    lengths = tuple(sequence.shape[0] for sequence in sequences)
    if lengths != borders.lengths:
        raise ValueError(f"pack got sequences of lengths {lengths}, but the layout plans {borders.lengths}")
    if not sequences:
        raise ValueError("pack got no sequences; an empty batch has no hidden size")
    return torch.cat(tuple(sequences))


def unpack(states: Shaped[Tensor, "_ *channels"], borders: Ragged) -> tuple[Shaped[Tensor, "_ *channels"], ...]:
    """Cut the packed axis at the borders: the inverse of `pack`, without a copy.

    Args:
        states: Shape (tokens, ...).
        borders: The planned borders.

    Returns:
        One view of shape (length, ...) per sequence.

    Raises:
        ValueError: If `states` does not have as many tokens as the plan.
    """
    if states.shape[0] != borders.total:
        raise ValueError(f"unpack got {states.shape[0]} tokens, but the layout plans {borders.total}")
    return states.split(list(borders.lengths))
