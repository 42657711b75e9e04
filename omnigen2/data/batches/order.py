"""In which order the samples of a source come in an epoch, without a list of them."""

import math
import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from omnigen2.data.samples import Chunks

LEAST_WINDOW = 16
"""Chunks that a rank mixes with one another, if the window of the source has so many."""


@dataclass(frozen=True)
class Group:
    """Places of an order whose samples are mixed with one another.

    Attributes:
        start: The first place.
        numbers: Of the samples, place by place.
        chunks: Those that hold the samples.
    """

    start: int
    numbers: Int64[np.ndarray, " places"]
    chunks: Int64[np.ndarray, " chunks"]

    @property
    def stop(self) -> int:
        """The place after the last one."""
        return self.start + len(self.numbers)


class EpochOrder:
    """A permutation of all samples of a source, cut into parts of which each touches its share of the chunks.

    Chunks are laid end to end in random order, and cut into `parts` of equally many samples; where there are fewer
    chunks than parts, neighbouring parts have samples of one chunk. A part is cut into groups of about the window, and
    the samples of a group are in random order. Only one group is ever held, so memory grows with the number of chunks
    and with the window, not with the number of samples.

    Args:
        chunks: Of the source, at least one sample in all.
        parts: As many as there are ranks, at least 1.
        key: Whole numbers from 0 that the order is a function of, beside the chunks and parts.
    """

    def __init__(self, chunks: Chunks, parts: int, key: tuple[int, ...]) -> None:
        self.parts = parts
        self._key = key
        lengths = chunks.lengths
        self._order = np.random.default_rng(key).permutation(len(lengths))
        self._lengths = lengths[self._order]
        self._ends = np.cumsum(self._lengths)
        self._shifts = np.cumsum(lengths)[self._order] - self._ends
        window = max(math.ceil(chunks.window / parts), min(chunks.window, LEAST_WINDOW))
        self._groups = max(1, math.ceil(len(lengths) / (parts * window)))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def part(self, number: int) -> tuple[int, int]:
        """First place of a part, and the place after its last."""
        return part_of(len(self), self.parts, number)

    def group(self, place: int) -> Group:
        """The group of a place.

        Raises:
            IndexError: If there is no such place.
        """
        if not 0 <= place < len(self):
            raise IndexError(f"the order has places 0 to {len(self) - 1}, got {place}")
        start, stop = self.part(_holder(place, len(self), self.parts))
        inside = _holder(place - start, stop - start, self._groups)
        first, last = (start + border for border in part_of(stop - start, self._groups, inside))
        mixed = first + np.random.default_rng((*self._key, self.parts, first)).permutation(last - first)
        chunks = np.searchsorted(self._ends, mixed, "right")
        touched = slice(int(chunks.min()), int(chunks.max()) + 1)
        return Group(first, mixed + self._shifts[chunks], self._order[touched][self._lengths[touched] > 0])


def part_of(length: int, parts: int, number: int) -> tuple[int, int]:
    """Where one of several equal parts starts and ends; lengths differ by at most 1."""
    return length * number // parts, length * (number + 1) // parts


def _holder(place: int, length: int, parts: int) -> int:
    """Which of the equal parts of a length has a place."""
    return ((place + 1) * parts - 1) // length


def order_key(seed: int, name: str, epoch: int) -> tuple[int, ...]:
    """What the order of a source in an epoch is a function of."""
    return seed, zlib.crc32(f"order {name}".encode()), epoch
