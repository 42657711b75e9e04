"""Where files lie: asked for one file, a store answers with its bytes, or says in the user's words why not."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from urllib.parse import urlsplit

from omnigen2.data.samples import DataError

BLOCK = 2**20
INSTALL = "install it with `pip install 'omnigen2[remote]'`"


class Passing(Exception):
    """A fault that another attempt may not meet.

    Args:
        problem: What happened.
        unreachable: Whether there was no connection at all.
        wait_s: Seconds after which the server wants to be asked again.
    """

    def __init__(self, problem: str, unreachable: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(problem)
        self.unreachable, self.wait_s = unreachable, wait_s


class Missing(DataError):
    """There is no such file, or nobody tells us that there is."""


@dataclass(frozen=True)
class Reply:
    """A file on its way.

    Attributes:
        start: The byte of the file with which `blocks` begin.
        size: Bytes of the whole file; None if the server does not say.
        etag: Another one stands for another content; "" if none can be relied on.
        blocks: The bytes. Getting the next ones raises `Passing` if the connection breaks.
    """

    start: int
    size: int | None
    etag: str
    blocks: Iterator[bytes]


class Store(ABC):
    """A folder far away. One store serves many threads, but not the processes that are forked off.

    Attributes:
        url: The folder, as the user names it, without a slash at its end.
    """

    url: str

    @abstractmethod
    def get(self, name: str, start: int = 0, etag: str = "") -> AbstractContextManager[Reply]:
        """One request for a file.

        Args:
            name: Of a file in the folder.
            start: Its first bytes that are not wanted, if it still has this `etag`; a store may send them all the same.
            etag: What an earlier reply said.

        Raises:
            DataError: If the store says no; `Missing` if it has no such file.
            Passing: If another attempt may succeed.
        """


def faulty(status: int, wait: str | None = None) -> Passing | None:
    """The fault that an HTTP status tells of, if it may pass.

    Args:
        wait: The header `Retry-After`.
    """
    if status < 500 and status not in (408, 416, 412, 425, 429):
        return None
    return Passing(f"HTTP {status}", wait_s=min(120.0, float(wait)) if wait and wait.isdecimal() else 0.0)


def whole_size(start: int, length: str | int | None) -> int | None:
    """Bytes of a file, given how many of them come, and from where."""
    return start + int(length) if length is not None and str(length).isdecimal() else None


def open_store(url: str, idle_s: float = 60.0) -> Store:
    """The store of a URL; nothing is asked of it yet.

    Args:
        url: `s3://BUCKET/FOLDER`, `gs://BUCKET/FOLDER`, `hf://datasets/OWNER/NAME/FOLDER` or `https://HOST/FOLDER`.
        idle_s: Seconds without a byte after which a connection counts as broken.

    Raises:
        DataError: If the URL is none of these, or holds a secret, or a library is missing.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        # the rest is not shown: it may be a password or a signature
        raise DataError(
            f"a URL of {parts.scheme}://{parts.netloc.rpartition('@')[2]} has a user name, a ? or a #",
            "name the folder alone, and give credentials as the store's own tools read them (docs/data_far_away.md)",
        )
    url = url.rstrip("/")
    match parts.scheme.lower():
        case "s3":
            from omnigen2.data.remote.s3 import S3Store

            return S3Store(url, parts.netloc, parts.path.strip("/"), idle_s)
        case "gs" | "hf" | "https" | "http":
            from omnigen2.data.remote.web import web_store

            return web_store(url, idle_s)
        case other:
            raise DataError(f"{url} has the scheme {other!r}", "expected s3, gs, hf or https")
