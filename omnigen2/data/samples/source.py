"""Where samples come from, and where in it they are."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from typing_extensions import override

from omnigen2.data.samples.columns import Envelope, SizeColumns
from omnigen2.data.samples.errors import DataError
from omnigen2.data.samples.kinds import Origins
from omnigen2.data.samples.sample import Sample, SampleSizes, Task, measure
from omnigen2.data.samples.text import ByteLength, TextLength
from omnigen2.pictures import ImageReader

BLOCK = 2**18
"""So many samples are looked through at a time."""


class Chunks(NamedTuple):
    """Which samples lie together, and how many such chunks are mixed with one another in the order of an epoch.

    Attributes:
        lengths: Number of samples of each chunk; the samples are numbered chunk by chunk.
        window: Chunks, over all ranks together; every rank mixes at least `LEAST_WINDOW`, if the window has so many.
    """

    lengths: Int64[np.ndarray, " chunks"]
    window: int


class Source(ABC):
    """A finite set of samples that can be read in any order, and whose sizes are known beforehand.

    Reading by number makes batches a pure function of seed and position: that is what exact resume, any number of
    workers and a change of world size rest on.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Read one sample; its images may still be paths."""

    @abstractmethod
    def sizes(self, index: int) -> SampleSizes:
        """Sizes of one sample, cheaper than reading it."""

    def columns(self, numbers: Sequence[int] | Int64[np.ndarray, " numbers"]) -> SizeColumns:
        """Sizes of many samples, in the order of their numbers."""
        return SizeColumns.of([self.sizes(int(number)) for number in numbers])

    def blocks(self) -> Iterator[SizeColumns]:
        """Sizes of all samples, in the order of their numbers and not too many at a time."""
        for start in range(0, len(self), BLOCK):
            yield self.columns(range(start, min(start + BLOCK, len(self))))

    def envelope(self) -> Envelope:
        """What no sample exceeds; it need not be reached."""
        return Envelope.of(self.blocks())

    def task(self, index: int) -> Task:
        """Task of one sample; by default the sample is read for it."""
        return self[index].task

    def tasks(self) -> dict[Task, int]:
        """How many samples there are of each task."""
        return Counter(self.task(index) for index in range(len(self)))

    def origins(self) -> Origins:
        """What its samples with a target bring that was computed before, and what made it; by default nothing."""
        return Origins()

    def chunks(self) -> Chunks:
        """Which samples lie together; by default each alone, and all are mixed with one another."""
        return Chunks(np.ones(len(self), dtype=np.int64), len(self))

    def soon(self, chunks: Sequence[int]) -> None:  # noqa: B027 - most sources have nothing to fetch
        """Be told which chunks will be needed next, in this order; returns at once. By default nothing is done."""


class ListSource(Source):
    """Samples in memory, or with their images on disk.

    Sizes are found by decoding the images, once per sample. For large sets write chunks with `omnigen2 data optimize`,
    which stores the sizes.

    Args:
        samples: At least one.
        text: Counts the text tokens.
        reader: Decodes images to find their sizes.

    Raises:
        DataError: If there are no samples.
    """

    def __init__(
        self, samples: Sequence[Sample], text: TextLength | None = None, reader: ImageReader | None = None
    ) -> None:
        if not samples:
            raise DataError("a source needs at least 1 sample, got none; remove the source or fill it")
        self.samples = tuple(samples)
        self.text = text or ByteLength()
        self.reader = reader or ImageReader()
        self._sizes: dict[int, SampleSizes] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    @override
    def sizes(self, index: int) -> SampleSizes:
        if index not in self._sizes:
            sample = self.samples[index]
            self._sizes[index] = measure(sample, self.text.count(sample), self.reader)
        return self._sizes[index]
