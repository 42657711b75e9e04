"""One packed batch, described on the host before anything reaches the device.

A batch of samples of different lengths is laid out on a single token axis, sample after sample and, inside a
sample, text first, then the references, then the target. A `Layout` is that plan as frozen Python data: it is
made once, at collate time, and everything that depends on lengths (positions, attention borders, indices) is
derived from it, so that no `forward` ever has to ask the device how long something is. `pack` and `unpack` go
between a list of sequences and the packed axis, `pack_padded` and `unpack_padded` between a dense batch and it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal, TypeAlias, assert_never

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from omnigen2.errors import check_choice, check_whole

TokenStates: TypeAlias = Float[Tensor, "tokens hidden"]
"""Hidden states of packed tokens."""
PositionIds: TypeAlias = Int[Tensor, "tokens 3"]
"""(instance, row, column) of packed tokens."""
TokenIndex: TypeAlias = Int[Tensor, " tokens"]
"""One integer per packed token, such as the sample it belongs to."""
Offsets: TypeAlias = Int[Tensor, " borders"]
"""Cumulative lengths, starting with 0: what variable-length attention kernels call `cu_seqlens`."""
PaddingMask: TypeAlias = Shaped[Tensor, "batch length"]
"""True, or the integer 1, where a dense batch has a token; what tokenizers call `attention_mask`."""

ImageRole: TypeAlias = Literal["reference", "target"]
SegmentKind: TypeAlias = Literal["text", "reference", "target"]
PaddingSide: TypeAlias = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class TextSegment:
    """A run of `length` text tokens, at least 1."""

    length: int

    def __post_init__(self) -> None:
        if check_whole("the length of a TextSegment", self.length) < 1:
            raise ValueError(f"TextSegment length must be at least 1 token, got {self.length}; leave empty text out")

    @property
    def kind(self) -> SegmentKind:
        """Always `"text"`."""
        return "text"

    @property
    def tokens(self) -> int:
        """The length."""
        return self.length


@dataclass(frozen=True, slots=True)
class ImageSegment:
    """The tokens of one image, row by row: a reference is given, a target is generated.

    Height and width are in tokens (latent pixels divided by the patch size), at least 1.
    """

    height: int
    width: int
    role: ImageRole

    def __post_init__(self) -> None:
        check_choice("the role of an ImageSegment", self.role, ImageRole)
        if check_whole("a side of an ImageSegment", self.height, self.width) < 1:
            got = f"height {self.height} and width {self.width}"
            raise ValueError(f"ImageSegment needs at least 1x1 tokens, got {got}; enlarge the image to one patch")

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
    """Borders of consecutive sequences on one packed axis: `(0, l_0, l_0 + l_1, …)` up to the number of tokens.

    The largest length is 0 when there is no sequence.
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
        """The number of the sequence that each token belongs to: int64, shape (total,)."""
        lengths = torch.tensor(self.lengths, dtype=torch.int64)
        return torch.repeat_interleave(torch.arange(len(self)), lengths, output_size=self.total).to(device)

    def mask(self, length: int | None = None, side: PaddingSide = "right") -> Bool[Tensor, "batch length"]:
        """Where the tokens stand in a dense batch that is padded at one side to a length, by default the longest.

        Raises:
            ValueError: If the length is below that of the longest sequence.
        """
        length = self.max_length if length is None else length
        if length < self.max_length:
            raise ValueError(f"got rows of length {length}, but the longest sequence has {self.max_length} tokens")
        places, lengths = torch.arange(length), torch.tensor(self.lengths, dtype=torch.int64)[:, None]
        match side:
            case "right":
                return places < lengths
            case "left":
                return places >= length - lengths
            case _:
                assert_never(side)


@dataclass(frozen=True)
class Layout:
    """The plan of a packed batch: one tuple of segments per sample, text, references, target; any part may be missing.

    Raises:
        ValueError: If a sample is empty, its segments are in another order, or it has several texts or targets.

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
        """Borders of the segments of one kind, or of all, packed alone: a refiner's attention does not cross them."""
        return Ragged.of(segment.tokens for segment in self._each(kind))

    def per_sample(self, kind: SegmentKind) -> Ragged:
        """Borders of the samples when the tokens of one kind alone are packed (empty where a sample has none)."""
        check_choice("the kind of a segment", kind, SegmentKind)
        return Ragged.of(sum(s.tokens for s in sample if s.kind == kind) for sample in self.batch)

    def images(self, role: ImageRole) -> tuple[ImageSegment, ...]:
        """All images of one role, sample by sample."""
        return tuple(s for s in self._each(role) if isinstance(s, ImageSegment))

    def indices(self, kind: SegmentKind, device: torch.device | None = None) -> TokenIndex:
        """Where the tokens of one kind stand on the packed axis, in order: int64, shape (tokens of that kind,)."""
        check_choice("the kind of a segment", kind, SegmentKind)
        each = zip(self.segments().offsets, self._each(), strict=False)
        spans = [torch.arange(start, start + one.tokens) for start, one in each if one.kind == kind]
        return torch.cat([torch.empty(0, dtype=torch.int64), *spans]).to(device)

    def reference_numbers(self, device: torch.device | None = None) -> TokenIndex:
        """Which reference of its sample, counted from 0, each reference token belongs to: int64, (tokens,)."""
        counts = (sum(segment.kind == "reference" for segment in sample) for sample in self.batch)
        numbers = [number for count in counts for number in range(count)]
        owners = self.segments("reference").owners()
        return torch.tensor(numbers, dtype=torch.int64)[owners].to(device)

    def _each(self, kind: SegmentKind | None = None) -> Iterator[Segment]:
        if kind is not None:
            check_choice("the kind of a segment", kind, SegmentKind)
        return (segment for sample in self.batch for segment in sample if kind in (None, segment.kind))


def pack(sequences: Sequence[Shaped[Tensor, "_ *channels"]], borders: Ragged) -> Shaped[Tensor, "_ *channels"]:
    """Lay sequences of shape (length, ...) behind one another on the packed axis: shape (tokens, ...).

    Raises:
        ValueError: If there are none, or their lengths are not those of the plan.
    """
    lengths = tuple(sequence.shape[0] for sequence in sequences)
    if lengths != borders.lengths:
        raise ValueError(f"pack got sequences of lengths {lengths}, but the layout plans {borders.lengths}")
    if not sequences:
        raise ValueError("pack got no sequences; an empty batch has no hidden size")
    return torch.cat(tuple(sequences))


def unpack(states: Shaped[Tensor, "_ *channels"], borders: Ragged) -> tuple[Shaped[Tensor, "_ *channels"], ...]:
    """Cut the packed axis at the borders: the inverse of `pack`. Views of shape (length, ...), without a copy.

    Raises:
        ValueError: If `states` does not have as many tokens as the plan.
    """
    if states.shape[0] != borders.total:
        raise ValueError(f"unpack got {states.shape[0]} tokens, but the layout plans {borders.total}")
    return states.split(list(borders.lengths))


def pack_padded(
    padded: Shaped[Tensor, "_ _ *channels"], mask: PaddingMask
) -> tuple[Shaped[Tensor, "_ *channels"], Ragged]:
    """Take the tokens out of a dense batch: the packed axis, shape (tokens, ...), and the borders of the sequences.

    What stands in the padding, left, right or in between, is not looked at and gets no gradient. The mask is read on
    the host: a mask on the device is waited for once, and with one that stayed on the host nothing is.

    Raises:
        ValueError: If mask and batch differ in shape, or the mask is made of floats.

    Example:
        >>> packed, borders = pack_padded(torch.arange(6).reshape(2, 3), torch.tensor([[0, 1, 1], [1, 1, 1]]))
        >>> packed.tolist(), borders.lengths
        ([1, 2, 3, 4, 5], (2, 3))
    """
    if padded.shape[:2] != mask.shape:
        raise ValueError(
            f"pack_padded got a batch of shape {tuple(padded.shape)} and a mask of shape {tuple(mask.shape)}; "
            "expected (batch, length, ...) and (batch, length): give the mask that the batch was padded with"
        )
    real, index = _places(mask)
    packed = padded.flatten(0, 1).index_select(0, index.to(padded.device, non_blocking=True))
    return packed, Ragged.of(real.sum(1).tolist())


def unpack_padded(packed: Shaped[Tensor, "_ *channels"], mask: PaddingMask) -> Shaped[Tensor, "_ _ *channels"]:
    """Put tokens where the mask is true and zeros elsewhere: the inverse of `pack_padded`, shape (batch, length, ...).

    For tokens that were never padded, `borders.mask()` is a mask. It is read on the host, as in `pack_padded`.

    Raises:
        ValueError: If there are more or fewer tokens than places, or the mask is made of floats.
    """
    real, index = _places(mask)
    if packed.shape[0] != index.shape[0]:
        raise ValueError(
            f"unpack_padded got {packed.shape[0]} tokens, but the mask has {index.shape[0]} places for them; "
            "give the mask that they were packed with, or `borders.mask()`"
        )
    empty = packed.new_zeros((real.numel(), *packed.shape[1:]))
    return empty.index_copy(0, index.to(packed.device, non_blocking=True), packed).unflatten(0, real.shape)


def _places(mask: PaddingMask) -> tuple[Bool[Tensor, "batch length"], TokenIndex]:
    """The mask on the host, and the places of its tokens when batch and length are one axis.

    Raises:
        ValueError: If the mask is made of floats: those are added to scores, and 0 is where a token is.
    """
    if mask.is_floating_point():
        raise ValueError(f"got a padding mask of {mask.dtype}, expected True or 1 where a token is; try `mask == 0`")
    return (real := mask.to("cpu", torch.bool)), real.flatten().nonzero().squeeze(1)
