"""The samples of a source whose pictures are of some size."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64
from typing_extensions import override

from omnigen2.data.samples.columns import Envelope, SizeColumns
from omnigen2.data.samples.errors import DataError
from omnigen2.data.samples.kinds import Origins
from omnigen2.data.samples.sample import Sample, SampleSizes, Task
from omnigen2.data.samples.source import Chunks, Source

WORD = 4096
"""Samples whose members are counted together, a multiple of 8."""


def check_range(at_least: int, below: int | None) -> None:
    """Refuse a range that has no picture of any size.

    Raises:
        DataError: If it is one.
    """
    if at_least < 0 or (below is not None and below <= at_least):
        words = f"at_least is {at_least}" if below is None else f"at_least is {at_least} and below is {below}"
        raise DataError(f"{words}: no picture has so many pixels", "give 0 <= at_least < below")


class PixelRange(Source):
    """The samples of another source whose picture is of some size: one bucket of a resolution stage.

    Training at 1024x1024 needs pictures that large (they are never enlarged); what is smaller belongs to an earlier
    stage. Two buckets with weights of their own keep small and large pictures in separate batches. Which samples are
    in it takes one bit for each sample of the other source.

    Args:
        source: All samples.
        at_least: Fewest pixels of the target; of the largest reference where a sample has no target. A sample without
            images has 0 pixels.
        below: Pixels that it must stay below; no limit if None.

    Raises:
        DataError: If the range is empty, or no sample is in it.
    """

    def __init__(self, source: Source, at_least: int = 0, below: int | None = None) -> None:
        wanted = f"at least {at_least} pixels" if below is None else f"at least {at_least} and below {below} pixels"
        check_range(at_least, below)
        self.source = source
        lengths, self._window = source.chunks()
        borders = np.cumsum(lengths)
        bits: list[np.ndarray] = []
        counted: list[np.ndarray] = []
        start = total = 0
        for pixels in (block.pixels() for block in source.blocks()):
            inside = (pixels >= at_least) & (True if below is None else pixels < below)
            bits.append(np.packbits(inside))
            members = total + np.cumsum(np.concatenate([[0], inside]))
            first, last = np.searchsorted(borders, [start, start + len(pixels)], "right")
            counted.append(members[borders[first if start else 0 : last] - start])
            start, total = start + len(pixels), int(members[-1])
        self._bits = np.pad(np.concatenate(bits), (0, -len(source) // 8 % (WORD // 8)))
        self._lengths = np.diff(np.concatenate(counted), prepend=0)
        words = np.bitwise_count(self._bits).reshape(-1, WORD // 8).sum(1, dtype=np.int64)
        self._before = np.concatenate([[0], np.cumsum(words)])
        if not len(self):
            found = source.envelope()
            raise DataError(
                f"none of {len(source)} samples has {wanted} (they have {found.fewest_pixels} to "
                f"{found.most_pixels}); change the range or remove this bucket"
            )

    def __len__(self) -> int:
        return int(self._before[-1])

    def __getitem__(self, index: int) -> Sample:
        return self.source[self.number(index)]

    def number(self, index: int) -> int:
        """Which sample of the other source one of this is.

        Raises:
            IndexError: If there is none.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"the range has samples 0 to {len(self) - 1}, got {index}")
        return int(self._numbers(np.array([index]))[0])

    def _numbers(self, indices: Int64[np.ndarray, " samples"]) -> Int64[np.ndarray, " samples"]:
        words = np.searchsorted(self._before, indices, "right") - 1
        found = np.empty(len(indices), dtype=np.int64)
        for word in np.unique(words):
            bits = np.unpackbits(self._bits[word * WORD // 8 : (word + 1) * WORD // 8])
            own = words == word
            found[own] = np.flatnonzero(bits)[indices[own] - self._before[word]] + word * WORD
        return found

    @override
    def sizes(self, index: int) -> SampleSizes:
        return self.source.sizes(self.number(index))

    @override
    def columns(self, numbers: Sequence[int] | Int64[np.ndarray, " numbers"]) -> SizeColumns:
        return self.source.columns(self._numbers(np.asarray(numbers, dtype=np.int64)))

    @override
    def envelope(self) -> Envelope:
        return self.source.envelope()

    @override
    def task(self, index: int) -> Task:
        return self.source.task(self.number(index))

    @override
    def origins(self) -> Origins:
        return self.source.origins()

    @override
    def chunks(self) -> Chunks:
        return Chunks(self._lengths, self._window)

    @override
    def soon(self, chunks: Sequence[int]) -> None:
        self.source.soon(chunks)
