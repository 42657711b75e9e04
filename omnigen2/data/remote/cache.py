"""A folder of bounded size for what was fetched, shared by all processes of a node."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedRandom, BufferedWriter
from pathlib import Path
from typing import NamedTuple

from omnigen2.data.remote.checksums import is_chunk
from omnigen2.data.samples import DataError

DRAFT = ".part"
USED = ".used"
CACHE, CACHE_GB = "OMNIGEN2_CACHE", "OMNIGEN2_CACHE_GB"


class Entry(NamedTuple):
    """A file of the cache: when it was used last (ns), its bytes, its path."""

    used: int
    size: int
    path: Path


@dataclass(frozen=True)
class Cache:
    """Folders of files that were fetched whole: `FOLDER/SOURCE/VERSION/FILE`.

    A file appears under its name when it is whole. Whoever writes a draft holds a lock on it, which ends with its
    owner; everybody else who wants the file waits for that. Chunks that were not used for longest make room; a mapped
    chunk can be removed, its memory stays valid.

    Attributes:
        folder: Of everything.
        limit: Bytes of everything; None for half of what the disk has left.
    """

    folder: Path
    limit: int | None = None

    @classmethod
    def of_environment(cls) -> "Cache":
        """What `OMNIGEN2_CACHE` and `OMNIGEN2_CACHE_GB` say; else `omnigen2` in the user's folder of caches.

        Raises:
            DataError: If the size is no positive number.
        """
        own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omnigen2"
        size = os.environ.get(CACHE_GB, "")
        try:
            limit = int(float(size) * 1e9) if size else None
        except (ValueError, OverflowError):
            limit = 0
        if limit is not None and limit <= 0:
            raise DataError(f"{CACHE_GB} is {size!r}", "expected gigabytes, such as 200")
        return cls(Path(os.environ.get(CACHE) or own).expanduser().absolute(), limit)

    def fill(self, file: Path, write: Callable[[BufferedRandom], None]) -> None:
        """Have a file, written by this process or another one.

        Args:
            write: Gets the draft, open and empty; what it raises goes on to the caller, and no file is left.

        Raises:
            DataError: If the disk takes no more.
        """
        path = file.with_name(f".{file.name}{DRAFT}")
        while not touch(file):
            with self.told(), locked(path) as draft:
                if draft is None:
                    continue
                try:
                    if not touch(file):
                        draft.truncate(0)
                        write(draft)
                        draft.flush()
                        os.fsync(draft.fileno())
                        path.replace(file)
                finally:
                    path.unlink(missing_ok=True)

    def reserve(self, draft: BufferedRandom, size: int, keep: Collection[Path] = (), must: bool = True) -> bool:
        """Make room for a draft, and let it take that room.

        Args:
            size: Bytes that it will have.
            keep: Chunks that stay.
            must: Whether it is written in any case; others may go beyond the limit then, by what is being written.

        Returns:
            Whether there is room.

        Raises:
            DataError: If the file alone is larger than the limit.
        """
        with locked(self.folder / ".lock"):
            folder = Path(draft.name).parent
            entries = self._entries(Path(draft.name))
            held = sum(entry.size for entry in entries)
            limit = self.limit or (shutil.disk_usage(self.folder).free + held) // 2
            if size > limit:
                raise DataError(
                    f"{folder} gets a file of {size / 1e9:.3g} GB, the cache may have {limit / 1e9:.3g}",
                    f"raise {CACHE_GB}, or name a larger disk with {CACHE}",
                )
            for entry in sorted(entries):
                if held + size > limit and entry.path not in keep and self._remove(entry.path):
                    held -= entry.size
            draft.truncate(size)
        return must or held + size <= limit

    def _entries(self, own: Path) -> list[Entry]:
        entries: list[Entry] = []
        for folder in self.folder.glob("*/*/"):
            for file in os.scandir(folder):
                if file.name == USED or Path(file.path) == own:
                    continue
                with suppress(FileNotFoundError):
                    found = file.stat(follow_symlinks=False)
                    entries.append(Entry(found.st_mtime_ns, found.st_size, Path(file.path)))
        return entries

    def _remove(self, path: Path) -> bool:
        if is_chunk(path.name):
            path.unlink(missing_ok=True)
            return True
        # a draft goes when its owner has died, and what a version has beside its chunks when nobody reads it
        with locked(path if path.name.endswith(DRAFT) else path.with_name(USED), wait=False) as lock:
            if lock is not None:
                path.unlink(missing_ok=True)
            return lock is not None

    def limit_told(self) -> str:
        """The limit in words."""
        size = "half of what the disk has left" if self.limit is None else f"{self.limit / 1e9:g} GB"
        return f"at most {size}, {CACHE_GB}"

    @contextmanager
    def told(self) -> Generator[None]:
        """Say what the disk does not do.

        Yields:
            Nothing.

        Raises:
            DataError: In place of an `OSError`.
        """
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.folder} takes no data from far away ({error.strerror or error})",
                f"make room there, name another folder with {CACHE}, or set {CACHE_GB}",
            ) from error


@contextmanager
def locked(path: Path, wait: bool = True) -> Generator[BufferedRandom | None]:
    """Hold a lock on a file, which is made if there is none; it ends with the process that holds it.

    Args:
        wait: For whoever has it.

    Yields:
        The open file; None if somebody else has the lock, or has removed or renamed the file meanwhile.
    """
    with open(path, "r+b", opener=lambda name, flags: os.open(name, flags | os.O_CREAT, 0o666)) as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
            return
        try:
            yield opened if _same(path, opened) else None
        finally:
            # a process that was forked off meanwhile has the file open too
            fcntl.flock(opened, fcntl.LOCK_UN)


def _same(path: Path, opened: BufferedRandom) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(opened.fileno()))
    except FileNotFoundError:
        return False


def in_use(version: Path) -> BufferedWriter:
    """Keep what a version has beside its chunks for as long as the file that is returned is open, here or in a fork."""
    version.mkdir(parents=True, exist_ok=True)
    opened = (version / USED).open("ab")
    fcntl.flock(opened, fcntl.LOCK_SH)
    return opened


def touch(file: Path) -> bool:
    """Note that a file is used now; False if there is none."""
    now = time.time_ns()
    try:
        os.utime(file, ns=(now, now))
    except FileNotFoundError:
        return False
    return True
