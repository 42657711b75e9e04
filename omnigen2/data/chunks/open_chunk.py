"""The records of a chunk as litdata writes it.

A chunk is, in little endian numbers of 4 bytes,

    number of records | where each starts, and the end of the last | records

and a record of one leaf of bytes is its length (4) and the bytes.
"""

import os
import struct
from pathlib import Path

import numpy as np

from omnigen2.data.samples import DataError

REMEDY = "copy it anew or write the folder again"


def _check_length(file: Path, expected: int) -> None:
    """Refuse a chunk that is longer or shorter than the index says.

    Raises:
        DataError: If it is.
    """
    if not file.is_file():
        raise DataError(f"the chunk {file} is missing; {REMEDY}")
    if (length := file.stat().st_size) != expected:
        raise DataError(f"the chunk {file} has {length} bytes, expected {expected}; it is truncated: copy it anew")


class OpenChunk:
    """One chunk, open for reading by any number of processes; it stays readable when its file is removed.

    Args:
        file: The chunk.
        records: How many it holds, by the index.
        length: Of the file, by the index.

    Raises:
        DataError: If it does not hold them.
    """

    def __init__(self, file: Path, records: int, length: int) -> None:
        _check_length(file, length)
        self.file = file
        try:
            self._opened = file.open("rb", buffering=0)
        except OSError as error:
            raise DataError(f"the chunk {file} cannot be opened ({error})", REMEDY) from error
        head = 4 * (records + 2)
        numbers = np.frombuffer(self._read(0, head), dtype="<u4").astype(np.int64)
        if numbers[0] != records or numbers[1] != head or numbers[-1] != length or (np.diff(numbers[1:]) < 4).any():
            raise DataError(f"the chunk {file} does not hold the {records} records that the index names", REMEDY)
        self._borders = numbers[1:]

    def record(self, number: int) -> bytes:
        """The bytes of one record.

        Raises:
            DataError: If it cannot be read, or is not of one leaf of bytes.
        """
        start, stop = self._borders[number : number + 2].tolist()
        (length,) = struct.unpack("<I", self._read(start, 4))
        if start + 4 + length != stop:
            raise DataError(f"record {number} of the chunk {self.file} is damaged (its length is wrong)", REMEDY)
        return self._read(start + 4, length)

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def _read(self, start: int, length: int) -> bytes:
        try:
            found = os.pread(self._opened.fileno(), length, start)
        except OSError as error:
            raise DataError(f"the chunk {self.file} cannot be read ({error})", REMEDY) from error
        if len(found) != length:
            raise DataError(f"the chunk {self.file} ends before byte {start + length}", REMEDY)
        return found
