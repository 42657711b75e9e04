"""What a folder of chunks consists of: each of its files with the checksum of its content."""

import hashlib
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from omnigen2.data.samples import DataError
from omnigen2.files import write_text

CHECKSUMS = "chunks.sha256"
"""Written last; `sha256sum -c chunks.sha256` checks a copy of the folder."""
LINE = re.compile(rb"([0-9a-f]{64})  ([A-Za-z0-9_-][A-Za-z0-9._-]{0,199})\n")
BLOCK = 2**20


def write_checksums(folder: Path) -> None:
    """List all files of a folder with their SHA-256, in the format of `sha256sum`."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != CHECKSUMS)
    write_text(folder / CHECKSUMS, "".join(f"{sha256(file)}  {file.name}\n" for file in files))


def sha256(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class Checksums:
    """The lines of a `chunks.sha256`; mapped, so that a list of a million chunks takes no memory of its own.

    Args:
        file: The list.
        name: What messages call it, such as its URL.

    Raises:
        DataError: If a line is none of `sha256sum`, or names no plain file.
    """

    def __init__(self, file: Path, name: str) -> None:
        self.name = name
        with file.open("rb") as opened:
            if not file.stat().st_size:
                raise DataError(f"{name} is empty", "write the folder again")
            self._lines = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self.others = tuple(name for name in self._names() if not is_chunk(name))
        """All files but the chunks."""

    def of(self, name: str) -> str:
        """The checksum of a file.

        Raises:
            DataError: If the list does not name it.
        """
        place = self._lines.find(f"  {name}\n".encode())
        digest = bytes(self._lines[max(0, place - 64) : place])
        if place < 64:
            raise DataError(f"{self.name} does not name {name}; files of two runs are mixed", "copy the folder anew")
        return digest.decode()

    def _names(self) -> Iterator[str]:
        place = 0
        for found in LINE.finditer(self._lines):
            if found.start() != place:
                break
            place = found.end()
            yield found[2].decode()
        if place != len(self._lines):
            line = self._lines[place : place + 80]
            raise DataError(
                f"{self.name} has {line!r}, expected 64 hexadecimal digits, two spaces and the name of a file",
                f"write it in the folder with `sha256sum * > {CHECKSUMS}`, or copy it anew",
            )


def is_chunk(name: str) -> bool:
    """Whether a file of a folder holds samples, and not what is told of them."""
    return name.endswith(".bin")
