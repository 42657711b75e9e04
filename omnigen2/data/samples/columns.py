"""The sizes of many samples at once, as arrays, and what bounds them all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int32, Int64

from omnigen2.data.samples.sample import SampleSizes


@dataclass(frozen=True)
class SizeColumns:
    """Sizes of samples, column by column.

    Attributes:
        text_tokens: At most this many text tokens.
        targets: (height, width) in pixels; (0, 0) without a target.
        counts: Number of references.
        references: (height, width) of all references, sample by sample.
    """

    text_tokens: Int32[np.ndarray, " samples"]
    targets: Int32[np.ndarray, "samples 2"]
    counts: Int32[np.ndarray, " samples"]
    references: Int32[np.ndarray, "references 2"]

    @classmethod
    def of(cls, sizes: Sequence[SampleSizes]) -> "SizeColumns":
        """The columns of samples, given the sizes of each."""
        return cls(
            np.array([one.text_tokens for one in sizes], dtype=np.int32),
            np.array([one.target or (0, 0) for one in sizes], dtype=np.int32).reshape(-1, 2),
            np.array([len(one.references) for one in sizes], dtype=np.int32),
            np.array([size for one in sizes for size in one.references], dtype=np.int32).reshape(-1, 2),
        )

    def __len__(self) -> int:
        return len(self.text_tokens)

    def pixels(self) -> Int64[np.ndarray, " samples"]:
        """Of the target; of the largest reference where a sample has no target; 0 without images."""
        largest = np.zeros(len(self), dtype=np.int64)
        np.maximum.at(largest, np.repeat(np.arange(len(self)), self.counts), _areas(self.references))
        areas = _areas(self.targets)
        return np.where(areas > 0, areas, largest)


@dataclass(frozen=True)
class Envelope:
    """What no sample of a source exceeds, and which samples come first in something.

    Attributes:
        text_tokens: No sample has more.
        references: No sample has more.
        first_with_most: Number of the first sample with so many references.
        first_undrawn: Number of the first sample without a target; None if each has one.
        fewest_pixels: No sample has fewer, see `SizeColumns.pixels`.
        most_pixels: No sample has more.
    """

    text_tokens: int
    references: int
    first_with_most: int
    first_undrawn: int | None
    fewest_pixels: int
    most_pixels: int

    @classmethod
    def of(cls, blocks: Iterable[SizeColumns]) -> "Envelope":
        """Of all samples of at least one block, none of which is empty."""
        first, *rest = blocks
        found, start = cls._of_block(first), len(first)
        for block in rest:
            found, start = found.joined(cls._of_block(block), start), start + len(block)
        return found

    @classmethod
    def _of_block(cls, block: SizeColumns) -> "Envelope":
        pixels, undrawn = block.pixels(), np.flatnonzero(block.targets[:, 0] == 0)
        return cls(
            int(block.text_tokens.max()),
            int(block.counts.max()),
            int(block.counts.argmax()),
            int(undrawn[0]) if len(undrawn) else None,
            int(pixels.min()),
            int(pixels.max()),
        )

    def joined(self, later: "Envelope", start: int) -> "Envelope":
        """Of these samples and those of another one, whose numbers begin with `start`."""
        undrawn = None if later.first_undrawn is None else later.first_undrawn + start
        more = later.references > self.references
        return replace(
            self,
            text_tokens=max(self.text_tokens, later.text_tokens),
            references=max(self.references, later.references),
            first_with_most=later.first_with_most + start if more else self.first_with_most,
            first_undrawn=undrawn if self.first_undrawn is None else self.first_undrawn,
            fewest_pixels=min(self.fewest_pixels, later.fewest_pixels),
            most_pixels=max(self.most_pixels, later.most_pixels),
        )


def _areas(sizes: Int32[np.ndarray, "images 2"]) -> Int64[np.ndarray, " images"]:
    return sizes[:, 0].astype(np.int64) * sizes[:, 1]
