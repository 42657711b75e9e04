"""Reading the chunks that `omnigen2 data optimize` writes."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from typing_extensions import override

from omnigen2.data.chunks.index import ChunkIndex
from omnigen2.data.chunks.open_chunk import OpenChunk
from omnigen2.data.chunks.record import decode
from omnigen2.data.chunks.sizes import SizeTable
from omnigen2.data.remote import chunk_files, is_remote
from omnigen2.data.samples import (
    Chunks,
    DataError,
    Envelope,
    LostChunk,
    Origins,
    Sample,
    SampleSizes,
    SizeColumns,
    Source,
    Task,
)

MOST_OPEN = 128
"""Chunks that a process has open at a time."""


class StreamingSource(Source):
    """Samples in litdata chunks, read one at a time and in any order.

    Sizes are mapped into memory, not copied; they and the chunks are checked when they are first read. An epoch goes
    through groups of chunks in random order, and through the samples of a group in random order, so that few chunks
    are open at a time.

    Args:
        folder: Written by `omnigen2 data optimize`: `index.json`, chunks and the sizes of the samples. A local folder,
            or a URL such as `s3://BUCKET/FOLDER`, whose chunks are fetched when they are needed.
        window: Chunks that are mixed with one another, at least 1: over all ranks, each of which has at least 16 if
            the window has.

    Raises:
        DataError: If a file is missing, truncated or of another format.
    """

    def __init__(self, folder: str | Path, window: int = 64) -> None:
        if window < 1:
            raise DataError(f"window must be at least 1 chunk, got {window}")
        self.folder = str(folder) if is_remote(folder) else Path(folder)
        self.window = window
        self.files = chunk_files(folder)
        self.index = ChunkIndex.load(self.files.root, self.folder)
        if isinstance(self.folder, Path):
            self.index.check_files(self.folder)
        self.table = SizeTable.load(self.files.root)
        self._borders = np.concatenate([[0], np.cumsum(self.index.records)])
        if len(self.table) != self._borders[-1]:
            raise DataError(
                f"{self.folder} has the sizes of {len(self.table)} samples, but {self._borders[-1]} in its chunks; "
                "files of two runs are mixed, write the folder again"
            )
        self.table.check_if_small()
        self._origins = Origins.load(self.files.root)
        self._open: OrderedDict[int, OpenChunk] = OrderedDict()

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Sample:
        return decode(self.record(index), f"sample {index} of {self.folder}", self._origins)

    def record(self, index: int) -> bytes:
        """The bytes of one sample, as `omnigen2 data optimize` made them.

        Raises:
            IndexError: If there is no such sample.
            LostChunk: If its chunk is missing, cannot be fetched, or is not the one that was written.
            DataError: If it cannot be read.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.folder} has samples 0 to {len(self) - 1}, got {index}")
        chunk = int(np.searchsorted(self._borders, index, "right")) - 1
        return self._chunk(chunk).record(index - int(self._borders[chunk]))

    def __getstate__(self) -> dict[str, Any]:
        # a copy, here or in another process, has open chunks and connections of its own
        return {**self.__dict__, "_open": OrderedDict(), "files": copy(self.files)}

    @override
    def sizes(self, index: int) -> SampleSizes:
        return self.table[index]

    @override
    def columns(self, numbers: Sequence[int] | Int64[np.ndarray, " numbers"]) -> SizeColumns:
        return self.table.columns(np.asarray(numbers, dtype=np.int64))

    @override
    def blocks(self) -> Iterator[SizeColumns]:
        return self.table.blocks()

    @override
    def envelope(self) -> Envelope:
        return self.table.envelope

    @override
    def task(self, index: int) -> Task:
        return self.table.task(index)

    @override
    def tasks(self) -> dict[Task, int]:
        return self.table.task_counts()

    @override
    def origins(self) -> Origins:
        return self._origins

    @override
    def chunks(self) -> Chunks:
        return Chunks(self.index.records, self.window)

    @override
    def soon(self, chunks: Sequence[int]) -> None:
        self.files.soon([self.index.name(chunk) for chunk in chunks])

    def _chunk(self, number: int) -> OpenChunk:
        if number not in self._open:
            try:
                self._open[number] = self.index.open(number, self.files.need(self.index.name(number)))
            except DataError as error:
                raise LostChunk(error.message, error.remedy, error.arguments) from error
            if len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(number)
        return self._open[number]
