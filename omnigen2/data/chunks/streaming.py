"""Reading the chunks that `omnigen2 data optimize` writes."""

import os
import struct
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from typing_extensions import override

from omnigen2.data.chunks.index import chunk_lengths
from omnigen2.data.chunks.record import decode
from omnigen2.data.chunks.sizes import SizeTable
from omnigen2.data.samples import DataError, Origins, Sample, SampleSizes, Source, Task

UNREADABLE = (OSError, ValueError, LookupError, TypeError, RuntimeError, AssertionError, EOFError, struct.error)
"""What litdata raises on chunks that it did not write."""


class StreamingSource(Source):
    """Samples in litdata chunks, read through a plain `StreamingDataset`, one at a time and in any order.

    Chunks are mapped into memory, not copied. An epoch goes through groups of `window` chunks, groups and the samples
    of a group in random order, so that on slow disks few chunks are open at a time.

    Args:
        folder: Written by `omnigen2 data optimize`: `index.json`, chunks and the sizes of the samples.
        window: Chunks that are mixed with one another, at least 1.

    Raises:
        DataError: If a file is missing, truncated or of another format.
    """

    def __init__(self, folder: str | Path, window: int = 64) -> None:
        if window < 1:
            raise DataError(f"window must be at least 1 chunk, got {window}")
        self.folder = Path(folder)
        self.window = window
        self.chunks = chunk_lengths(self.folder)
        self.table = SizeTable.load(self.folder)
        if len(self.table) != sum(self.chunks):
            raise DataError(
                f"{self.folder} has the sizes of {len(self.table)} samples, but {sum(self.chunks)} in its chunks; "
                "files of two runs are mixed, write the folder again"
            )
        self._origins = Origins.load(self.folder)
        self._dataset: tuple[int, Any] | None = None

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.folder} has samples 0 to {len(self) - 1}, got {index}")
        name = f"sample {index} of {self.folder}"
        try:
            record = self._open()[index]
        except UNREADABLE as error:
            remedy = "copy the chunk anew or write the folder again"
            raise DataError(f"{name} cannot be read ({error})", remedy) from error
        return decode(record, name, self._origins)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None}

    @override
    def sizes(self, index: int) -> SampleSizes:
        return self.table[index]

    @override
    def task(self, index: int) -> Task:
        return self.table.task(index)

    @override
    def origins(self) -> Origins:
        return self._origins

    def order(self, generator: np.random.Generator) -> Int64[np.ndarray, " samples"]:
        """Chunks in random order, and samples in random order within every `window` of them."""
        borders = list(accumulate(self.chunks, initial=0))
        chunks = generator.permutation(len(self.chunks))
        groups: list[np.ndarray] = []
        for first in range(0, len(chunks), self.window):
            group = [np.arange(borders[c], borders[c + 1]) for c in chunks[first : first + self.window]]
            groups.append(generator.permutation(np.concatenate(group)))
        return np.concatenate(groups).astype(np.int64)

    def _open(self) -> Any:
        # one reader per process: a forked worker must not share its parent's files
        if self._dataset is None or self._dataset[0] != os.getpid():
            self._dataset = (os.getpid(), open_chunks(self.folder))
        return self._dataset[1]


def open_chunks(folder: Path) -> Any:
    """The records of a folder as litdata's `StreamingDataset`, which gives a `memoryview` for an index."""
    from litdata import StreamingDataset

    return StreamingDataset(str(folder))
