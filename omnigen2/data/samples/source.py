"""Where samples come from, and where in it they are."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64
from typing_extensions import override

from omnigen2.data.samples.errors import DataError
from omnigen2.data.samples.kinds import Origins
from omnigen2.data.samples.sample import Sample, SampleSizes, Task, measure
from omnigen2.data.samples.text import ByteLength, TextLength
from omnigen2.pictures import ImageReader


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

    def task(self, index: int) -> Task:
        """Task of one sample; by default the sample is read for it."""
        return self[index].task

    def origins(self) -> Origins:
        """What its samples with a target bring that was computed before, and what made it; by default nothing."""
        return Origins()

    def order(self, generator: np.random.Generator) -> Int64[np.ndarray, " samples"]:
        """The order of one epoch, a permutation of all indices, with no other source of chance than the generator."""
        return generator.permutation(len(self))


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


class PixelRange(Source):
    """The samples of another source whose picture is of some size: one bucket of a resolution stage.

    Training at 1024x1024 needs pictures that large (they are never enlarged); what is smaller belongs to an earlier
    stage. Two buckets with weights of their own keep small and large pictures in separate batches.

    Args:
        source: All samples.
        at_least: Fewest pixels of the target; of the largest reference where a sample has no target. A sample without
            images has 0 pixels.
        below: Pixels that it must stay below; no limit if None.

    Raises:
        DataError: If the range is empty, or no sample is in it.
    """

    def __init__(self, source: Source, at_least: int = 0, below: int | None = None) -> None:
        if at_least < 0 or (below is not None and below <= at_least):
            raise DataError(f"no picture has at least {at_least} and below {below} pixels; give 0 <= at_least < below")
        self.source = source
        pixels = [_pixels(source.sizes(index)) for index in range(len(source))]
        self.indices = [i for i, n in enumerate(pixels) if at_least <= n and (below is None or n < below)]
        if not self.indices:
            raise DataError(
                f"none of {len(pixels)} samples has at least {at_least} and below {below} pixels (they have "
                f"{min(pixels)} to {max(pixels)}); change the range or remove this bucket"
            )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.source[self.indices[index]]

    @override
    def sizes(self, index: int) -> SampleSizes:
        return self.source.sizes(self.indices[index])

    @override
    def task(self, index: int) -> Task:
        return self.source.task(self.indices[index])

    @override
    def origins(self) -> Origins:
        return self.source.origins()

    def order(self, generator: np.random.Generator) -> Int64[np.ndarray, " samples"]:
        """The order of the whole source, without what is not in the range."""
        places = np.full(len(self.source), -1, dtype=np.int64)
        places[self.indices] = np.arange(len(self.indices))
        order = places[self.source.order(generator)]
        return order[order >= 0]


def _pixels(sizes: SampleSizes) -> int:
    images = sizes.references if sizes.target is None else (sizes.target,)
    return max((height * width for height, width in images), default=0)
