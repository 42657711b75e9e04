"""A folder of chunks far away, as local files."""

import hashlib
import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BufferedRandom, BytesIO
from pathlib import Path
from typing import Any

from typing_extensions import override

from omnigen2.data.remote.ahead import Ahead
from omnigen2.data.remote.cache import Cache, in_use
from omnigen2.data.remote.checksums import CHECKSUMS, Checksums
from omnigen2.data.remote.chunk_files import ChunkFiles
from omnigen2.data.remote.fetch import Different, Fetch, Patience, Stopped, note
from omnigen2.data.remote.store import Missing, Store, open_store
from omnigen2.data.samples import DataError

VERSION_DIGITS = 20


@dataclass(frozen=True)
class RemoteSettings:
    """How folders far away are read.

    Attributes:
        cache: Where their files are kept meanwhile.
        threads: Chunks of a folder that each process fetches ahead at once.
        patience: With faulty servers.
    """

    cache: Cache = field(default_factory=Cache.of_environment)
    threads: int = 2
    patience: Patience = Patience()


class RemoteFiles(ChunkFiles):
    """The files of one version of a folder far away; made by `open_remote`.

    Args:
        url: The folder.
        root: Its version in the cache, with all files but the chunks.
        settings: How it is read.
    """

    def __init__(self, url: str, root: Path, settings: RemoteSettings) -> None:
        self.url, self.root, self.version, self.settings = url, root, root.name, settings
        self._here: tuple[int, _Reader] | None = None
        self._reader()

    @override
    def need(self, name: str) -> Path:
        return self._reader().need(name)

    @override
    def soon(self, names: Sequence[str]) -> None:
        self._reader().soon(names)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_here": None}

    def _reader(self) -> "_Reader":
        # one per process: a forked worker shares neither connections nor threads with its parent
        if self._here is None or self._here[0] != os.getpid():
            reader = _Reader(self.url, self.root, self.settings)
            weakref.finalize(self, reader.stop.set)
            self._here = (os.getpid(), reader)
        return self._here[1]


class _Reader:
    """What one process has of a folder: connections, threads, and the lock that says that it is used."""

    def __init__(self, url: str, root: Path, settings: RemoteSettings) -> None:
        self.url, self.root, self.settings = url, root, settings
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._wanted: frozenset[Path] = frozenset()
        self._ahead = Ahead(self._fetch_ahead, settings.threads)
        with settings.cache.told():
            self._used = in_use(root)
            self._sums = Checksums(root / CHECKSUMS, f"{url}/{CHECKSUMS}")

    def need(self, name: str) -> Path:
        file = self.root / name
        self.settings.cache.fill(file, lambda draft: self._fetch(name, draft, must=True))
        self._wanted -= {file}
        return file

    def soon(self, names: Sequence[str]) -> None:
        self._wanted = frozenset(self.root / name for name in names)
        self._ahead.plan(names)

    def _fetch_ahead(self, name: str) -> bool:
        self.settings.cache.fill(self.root / name, lambda draft: self._fetch(name, draft, must=False))
        return not self.stop.is_set()

    def _fetch(self, name: str, draft: BufferedRandom, must: bool) -> None:
        def room(size: int) -> None:
            if not self.settings.cache.reserve(draft, size, self._wanted, must):
                raise Stopped

        with self._lock:
            self._store = self._store or open_store(self.url, self.settings.patience.idle_s)
        try:
            Fetch(self._store, name, draft, self._sums.of(name), self.settings.patience, room, self.stop).run()
        except (Different, Missing) as error:
            if (now := _version(self._store, BytesIO(), self.settings)) != self.root.name:
                raise DataError(
                    f"{self.url} has been replaced since this run began to read it (version {self.root.name} has "
                    f"become {now})",
                    "begin a new run to read what is there now, or put back what was there",
                ) from error
            raise


def open_remote(url: str, settings: RemoteSettings | None = None) -> RemoteFiles:
    """The files of a folder far away, as it is now. All but its chunks are fetched, if they are not in the cache.

    Args:
        url: See `open_store`.
        settings: As the environment says if None.

    Raises:
        DataError: If there is no such folder, or it cannot be read.
    """
    settings = settings or RemoteSettings()
    cache, url = settings.cache, url.rstrip("/")
    store = open_store(url, settings.patience.idle_s)
    content = BytesIO()
    version = _version(store, content, settings)
    root = cache.folder / hashlib.sha256(url.encode()).hexdigest()[:16] / version
    with cache.told():
        used = in_use(root)
    with used:
        others = sorted(found.name for found in root.parent.iterdir() if (found / CHECKSUMS).exists())
        if others and version not in others:
            note(f"{url} has changed since it was last read here (version {', '.join(others)}, now {version})")
        cache.fill(root / CHECKSUMS, lambda draft: draft.writelines([content.getvalue()]))
        sums = Checksums(root / CHECKSUMS, f"{url}/{CHECKSUMS}")
        for name in sums.others:

            def write(draft: BufferedRandom, name: str = name) -> None:
                if name == sums.others[0]:
                    note(f"{url} is kept in {root} ({cache.limit_told()})")
                Fetch(
                    store, name, draft, sums.of(name), settings.patience, lambda size: cache.reserve(draft, size)
                ).run()

            cache.fill(root / name, write)
        return RemoteFiles(url, root, settings)


def read_remote(url: str, name: str, settings: RemoteSettings | None = None) -> bytes | None:
    """A small file of a folder far away; None if there is none, or nobody may know.

    Raises:
        DataError: If the folder cannot be reached.
    """
    settings = settings or RemoteSettings()
    content = BytesIO()
    try:
        store = open_store(url, settings.patience.idle_s)
        Fetch(store, name, content, patience=settings.patience, at_once=True).run()
    except Missing:
        return None
    return content.getvalue()


def _version(store: Store, content: BytesIO, settings: RemoteSettings) -> str:
    """Fetch the list of checksums, which stands for all files.

    Raises:
        DataError: If there is none, or it cannot be fetched.
    """
    try:
        return Fetch(store, CHECKSUMS, content, patience=settings.patience, at_once=True).run()[:VERSION_DIGITS]
    except Missing as error:
        wanted = "expected a folder that `omnigen2 data optimize` wrote"
        raise DataError(f"{error.message}; {wanted}", error.remedy) from error
