"""Reading the chunks that `omnigen2 data optimize` writes."""

import json
import os
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from typing_extensions import override

from omnigen2.data.chunks.record import decode
from omnigen2.data.chunks.sizes import SizeTable
from omnigen2.data.samples import DataError, Origins, Sample, SampleSizes, Source, Task

DATA_FORMAT = ["bytes"]
"""The only format of records that we read: one leaf of bytes. litdata's fallback is pickle, which runs code."""


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
        self.chunks = _chunk_lengths(self.folder)
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
        return decode(self._open()[index], f"sample {index} of {self.folder}", self._origins)

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


def _chunk_lengths(folder: Path) -> list[int]:
    """Number of records in each chunk, after checking that the chunks are ours and whole.

    Raises:
        DataError: If they are not.
    """
    index = folder / "index.json"
    if not index.is_file():
        raise DataError(f"{folder} has no index.json; write it with `omnigen2 data optimize`, or check the path")
    try:
        content = json.loads(index.read_text())
        found, chunks = content["config"]["data_format"], content["chunks"]
        lengths = [int(chunk["chunk_size"]) for chunk in chunks]
        files = [(folder / chunk["filename"], int(chunk["chunk_bytes"])) for chunk in chunks]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{index} is no index of litdata ({error!r}); copy it anew or write it again") from error
    if found != DATA_FORMAT:
        danger = "; pickle runs whatever code it holds" if any("pickle" in str(kind) for kind in found or ()) else ""
        raise DataError(
            f"{index} has data_format {found}, expected {DATA_FORMAT}{danger}\n"
            "only chunks written by `omnigen2 data optimize` are read; write them again from their jsonl files"
        )
    for file, size in files:
        if not file.is_file():
            raise DataError(f"the chunk {file} is missing; copy it anew or write the folder again")
        if file.stat().st_size != size:
            raise DataError(
                f"the chunk {file} has {file.stat().st_size} bytes, expected {size}; it is truncated: copy it anew"
            )
    return lengths
