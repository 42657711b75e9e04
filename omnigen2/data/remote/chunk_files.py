"""The files of a folder of chunks, wherever the folder lies."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

SCHEMES = ("s3", "gs", "hf", "https", "http")


class ChunkFiles(ABC):
    """A folder of chunks as local files; it may be sent to other processes.

    Attributes:
        root: Local folder of all files but the chunks: `index.json`, sizes of the samples, accounts.
        version: Stands for the content of a folder far away; "" for a local one.
    """

    root: Path
    version: str = ""

    @abstractmethod
    def need(self, name: str) -> Path:
        """A chunk, local and whole; fetched first if need be.

        Raises:
            DataError: If it cannot be fetched, or the folder has been replaced.
        """

    @abstractmethod
    def soon(self, names: Sequence[str]) -> None:
        """Chunks that will be needed, in this order, in place of what was said before; returns at once."""


@dataclass(frozen=True)
class LocalFiles(ChunkFiles):
    """A folder on a disk."""

    root: Path

    @override
    def need(self, name: str) -> Path:
        return self.root / name

    @override
    def soon(self, names: Sequence[str]) -> None:
        pass


def is_remote(path: str | Path) -> bool:
    """Whether a path is a URL of an object store, a hub or a web server."""
    scheme, separator, _ = str(path).partition("://")
    return bool(separator) and scheme.lower() in SCHEMES


def chunk_files(folder: str | Path) -> ChunkFiles:
    """The files of a folder of chunks.

    Args:
        folder: On a disk, or a URL; of a folder far away all files but the chunks are fetched now.

    Raises:
        DataError: If a folder far away cannot be read.
    """
    if not is_remote(folder):
        return LocalFiles(Path(folder))
    # locks as those of the cache are not known to every system, and local folders need none
    from omnigen2.data.remote.remote_files import open_remote

    return open_remote(str(folder))


def read_remote(folder: str, name: str) -> bytes | None:
    """A small file of a folder far away; None if there is none, or nobody may know.

    Raises:
        DataError: If the folder cannot be reached.
    """
    from omnigen2.data.remote.remote_files import read_remote

    return read_remote(folder, name)
