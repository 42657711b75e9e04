"""How many tokens a sample takes, and how many a batch may."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Int32, Int64

from omnigen2.data.samples import DataError, Envelope, SampleSizes, SizeColumns
from omnigen2.files import check_most
from omnigen2.layout import ImageSegment, Layout, Segment, TextSegment
from omnigen2.pictures import ResizePolicy

Oversized: TypeAlias = Literal["refuse", "skip"]


@dataclass(frozen=True)
class TokenBudget:
    """Batches of at most so many tokens, text, references and targets together, without padding.

    Attributes:
        tokens: Most tokens of one batch on one rank, at least 1.
        resize: The sizes that images get; `multiple` is the side of one token in pixels.
        oversized: What happens to a sample that is above the budget by itself: `"refuse"` raises and names it,
            `"skip"` leaves it out and counts it.
        max_samples: Most samples of one batch; no limit if None.

    Raises:
        DataError: If a number is below 1.

    Example:
        >>> TokenBudget(1024).cost(SampleSizes(20, (), (256, 512)))
        532
    """

    tokens: int
    resize: ResizePolicy = field(default_factory=ResizePolicy)
    oversized: Oversized = "refuse"
    max_samples: int | None = None

    def __post_init__(self) -> None:
        check_most("tokens of a budget", self.tokens, 2**40, DataError)
        check_most("max_samples of a budget", self.max_samples, 2**40, DataError)
        if self.tokens < 1:
            raise DataError(f"a budget needs at least 1 token, got {self.tokens}")
        if self.max_samples is not None and self.max_samples < 1:
            raise DataError(f"max_samples must be at least 1, got {self.max_samples}; use None for no limit")

    def images(self, sizes: SampleSizes) -> tuple[ImageSegment, ...]:
        """The images of a sample after resizing, in tokens: references, then the target if there is one."""
        count, side = len(sizes.references), self.resize.multiple
        segments: list[ImageSegment] = []
        for size in sizes.references:
            height, width = self.resize.reference_size(*size, references=count)
            segments.append(ImageSegment(height // side, width // side, "reference"))
        if sizes.target is not None:
            height, width = self.resize.size(*sizes.target)
            segments.append(ImageSegment(height // side, width // side, "target"))
        return tuple(segments)

    def cost(self, sizes: SampleSizes) -> int:
        """Tokens of a sample, at most; at least 1."""
        return max(1, sizes.text_tokens + sum(segment.tokens for segment in self.images(sizes)))

    def costs(self, sizes: SizeColumns) -> Int64[np.ndarray, " samples"]:
        """Tokens of many samples, each the same as by `cost`."""
        owners = np.repeat(np.arange(len(sizes)), sizes.counts)
        together = sizes.counts[owners]  # how many references each one is one of
        images = np.zeros(len(owners), dtype=np.int64)
        for count in np.unique(together).tolist():
            own = together == count
            images[own] = _tokens(sizes.references[own], self.resize, count)
        tokens = np.bincount(owners, images, len(sizes)).astype(np.int64)
        drawn = sizes.targets[:, 0] > 0
        tokens[drawn] += _tokens(sizes.targets[drawn], self.resize, 0)
        return np.maximum(tokens + sizes.text_tokens, 1)

    def most(self, envelope: Envelope) -> int:
        """No sample that an envelope bounds takes more tokens."""
        limits = self.resize.reference_pixels
        area = self.resize.multiple**2
        counts = range(1, envelope.references + 1)
        references = max((count * (limits[min(count, len(limits)) - 1] // area) for count in counts), default=0)
        return max(1, envelope.text_tokens + self.resize.max_pixels // area + references)

    def layout(self, texts: Sequence[int], images: Sequence[Sequence[ImageSegment]]) -> Layout:
        """The plan of a batch, once the encoder has said how long each text is.

        Args:
            texts: Text tokens of each sample; 0 where nothing of a text is passed on.
            images: Image segments of each sample.

        Raises:
            DataError: If the batch has more tokens than the budget, or numbers of samples differ.
        """
        if len(texts) != len(images):
            raise DataError(f"got {len(texts)} text lengths for {len(images)} samples; give one for each")
        batch: list[tuple[Segment, ...]] = []
        for length, segments in zip(texts, images, strict=True):
            batch.append((TextSegment(length), *segments) if length else tuple(segments))
        layout = Layout(tuple(batch))
        if layout.tokens > self.tokens:
            raise DataError(
                f"the batch has {layout.tokens} tokens ({sum(texts)} of text), the budget is {self.tokens}; "
                "the text lengths that the sources count are too small for this encoder: give them another TextLength"
            )
        return layout


def _tokens(
    images: Int32[np.ndarray, "images 2"], resize: ResizePolicy, references: int
) -> Int64[np.ndarray, " images"]:
    """Of images of so many pixels, each of which is a target or one of so many references."""
    keys, place = np.unique(images[:, 0].astype(np.int64) << 32 | images[:, 1], return_inverse=True)
    fitted = [_image_tokens(resize, references, key >> 32, key & (2**32 - 1)) for key in keys.tolist()]
    return np.array(fitted, dtype=np.int64)[place]


@lru_cache(maxsize=2**16)
def _image_tokens(resize: ResizePolicy, references: int, height: int, width: int) -> int:
    fit = resize.reference_size(height, width, references) if references else resize.size(height, width)
    return fit[0] * fit[1] // resize.multiple**2
