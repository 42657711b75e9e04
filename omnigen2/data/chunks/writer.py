"""Writing samples as litdata chunks, and proving that they can be read back."""

import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

from omnigen2.data.chunks.index import ChunkIndex
from omnigen2.data.chunks.record import decode, encode
from omnigen2.data.chunks.sizes import SizeTable
from omnigen2.data.remote import write_checksums
from omnigen2.data.samples import ByteLength, DataError, Origins, Sample, SampleSizes, Task
from omnigen2.files import check_most

MOST_REFERENCES = 2**15 - 1
"""Of one sample."""
TEXT = ByteLength()


class ChunkWriter:
    """Writes samples of any tasks as litdata chunks that `StreamingSource` reads.

    Used as a context. At its end every record is read back from disk and compared with what was given; only then the
    table of sizes is written, without which a folder cannot be opened.

    Args:
        folder: Must be empty or not exist.
        chunk_bytes: A chunk is closed before it gets larger; at least 1.
        origins: What made that which every sample with a target brings; None if none brings anything.

    Raises:
        DataError: If the folder has files, or `chunk_bytes` is below 1.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from omnigen2.data import StreamingSource
        >>> with TemporaryDirectory() as folder:
        ...     with ChunkWriter(folder) as writer:
        ...         writer.add(Sample("understanding", "2 + 2?", answer="4"), SampleSizes(4, (), None))
        ...     StreamingSource(folder)[0].answer
        '4'
    """

    def __init__(self, folder: str | Path, chunk_bytes: int = 64 * 2**20, origins: Origins | None = None) -> None:
        from litdata.streaming.writer import BinaryWriter

        self.folder = Path(folder)
        self.origins = Origins() if origins is None else origins
        if chunk_bytes < 1:
            raise DataError(f"chunk_bytes must be at least 1, got {chunk_bytes}")
        if self.folder.exists() and any(self.folder.iterdir()):
            raise DataError(f"{self.folder} has files; name an empty folder, or delete it first")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._writer: Any = BinaryWriter(str(self.folder), chunk_bytes=chunk_bytes)
        self._tasks: list[Task] = []
        self._sizes: list[SampleSizes] = []
        self._text_bytes: list[int] = []
        self._checksums: list[int] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def __enter__(self) -> "ChunkWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def add(self, sample: Sample, sizes: SampleSizes) -> None:
        """Write one sample.

        Args:
            sample: Its images are read now if they are paths.
            sizes: Of this sample.

        Raises:
            DataError: If the sizes are of another sample, or latents or text states are missing or made by something
                else.
        """
        if len(sizes.references) != len(sample.references) or (sizes.target is None) != (sample.target is None):
            raise DataError(f"{sample.key} got the sizes {sizes}, which belong to another sample; use `measure`")
        check_most(f"references of {sample.key}", len(sizes.references), MOST_REFERENCES, DataError)
        for what, own in self.origins.named().items():
            brought = sample.origins.named()[what]
            if sample.target is not None and brought != own:
                raise DataError(f"{sample.key} has {what} made by {brought}, this folder's are made by {own}")
        record = encode(sample)
        self._writer[len(self)] = record
        self._tasks.append(sample.task)
        self._sizes.append(sizes)
        self._text_bytes.append(TEXT.words(sample.instruction) + TEXT.words(sample.answer or ""))
        self._checksums.append(zlib.crc32(record))

    def close(self) -> None:
        """Finish the chunks, read every record back, and write the table of sizes and the checksums of all files.

        Raises:
            DataError: If nothing was added, or a record is not what was given.
        """
        if not len(self):
            raise DataError(f"{self.folder} got no samples; a source needs at least 1")
        self._writer.done()
        self._writer.merge(1)
        self._read_back()
        self.origins.save(self.folder)
        SizeTable.of(self.folder, self._tasks, self._sizes, self._text_bytes).save()
        write_checksums(self.folder)

    def _read_back(self) -> None:
        """Compare every record with what was given.

        Raises:
            DataError: If one differs.
        """
        index, number = ChunkIndex.load(self.folder, self.folder), 0
        for chunk in range(len(index)):
            opened = index.open(chunk, self.folder / index.name(chunk))
            for place in range(int(index.records[chunk])):
                name = f"sample {number} of {self.folder}"
                record = opened.record(place)
                if number >= len(self) or zlib.crc32(record) != self._checksums[number]:
                    problem = f"{name} reads back differently than it was written"
                    raise DataError(f"{problem}; check the disk, then write again")
                decode(record, name, self.origins)
                number += 1
            opened.close()
        if number != len(self):
            raise DataError(f"{self.folder} has {number} of {len(self)} samples; check the disk, then write again")
