"""Getting one file whole: tried again where that helps, and compared with its checksum."""

import hashlib
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedRandom, BytesIO
from threading import Event
from time import monotonic

from omnigen2.data.remote.store import Passing, Store
from omnigen2.data.samples import DataError

LARGE = 64 * 2**20
TOLD_EVERY_S = 10.0
_jitter = random.Random()  # noqa: S311  (spreads retries; the seeds of a training are not touched)


class Stopped(Exception):
    """Nobody wants the file any more."""


class Different(DataError):
    """What came, twice, is not what the checksums say."""


@dataclass(frozen=True)
class Patience:
    """How long a faulty server is borne with.

    Attributes:
        attempts: How often a file is asked for in all.
        wait_s: Seconds before the second attempt; doubled for each further one, at most 30, with a random part.
        idle_s: Seconds without a byte after which a connection counts as broken.
    """

    attempts: int = 7
    wait_s: float = 0.5
    idle_s: float = 60.0


@dataclass
class Fetch:
    """One file on its way into an open file.

    Attributes:
        store: Where it lies.
        name: Its name there.
        file: Where it goes; open for reading and writing, and empty.
        digest: SHA-256 that it has to have; "" if any content is right.
        patience: With the server.
        room: Told how many bytes the file has, before the first of them is written.
        stop: Ends this between two blocks.
        at_once: Whether a server to which there is no connection is told at once.
    """

    store: Store
    name: str
    file: BufferedRandom | BytesIO
    digest: str = ""
    patience: Patience = Patience()
    room: Callable[[int], object] = lambda size: None
    stop: Event = field(default_factory=Event)
    at_once: bool = False

    def __post_init__(self) -> None:
        self._start_over()

    def run(self) -> str:
        """Get the file.

        Returns:
            Its SHA-256.

        Raises:
            DataError: If the store says no, or all attempts failed.
            Different: If its content is another one.
            Stopped: If `stop` was set.
        """
        where, different, problem = f"{self.store.url}/{self.name}", 0, Passing("none was made")
        for attempt in range(1, self.patience.attempts + 1):
            before = self._have
            try:
                self._attempt()
                if not self.digest or self._sha.hexdigest() == self.digest:
                    return self._sha.hexdigest()
                problem, different = Passing(f"came with sha256 {self._sha.hexdigest()[:12]}…"), different + 1
                self._start_over()
            except Passing as passing:
                problem = passing
                if before == self._have:
                    # what is left may be refused because the file is another one by now
                    self._start_over()
            if different == 2:
                raise Different(
                    f"{where} {problem}, expected {self.digest[:12]}…: it is damaged or of another version",
                    "copy the folder there anew, all of its files",
                )
            if problem.unreachable and self.at_once:
                raise DataError(f"{where}: {problem}", "check the network, the URL and the endpoint") from problem
            if attempt < self.patience.attempts:
                self._wait(attempt, problem)
        raise DataError(
            f"{where} could not be fetched in {self.patience.attempts} attempts ({problem})",
            "the store or the network is at fault: start again when it works; what is fetched is kept",
        )

    def _start_over(self) -> None:
        self._sha, self._have, self._etag = hashlib.sha256(), 0, ""

    def _attempt(self) -> None:
        with self.store.get(self.name, self._have, self._etag) as reply:
            if reply.start != self._have or (self._have and reply.etag != self._etag):
                self._start_over()
            if reply.start != self._have:
                raise Passing("another part of it came than was asked for")
            self._etag = reply.etag
            if reply.size is not None:
                self.room(reply.size)
            self.file.seek(self._have)
            said = monotonic()
            for block in reply.blocks:
                self.file.write(block)
                self._sha.update(block)
                self._have += len(block)
                if self.stop.is_set():
                    raise Stopped
                if reply.size and reply.size > LARGE and monotonic() - said > TOLD_EVERY_S:
                    said = monotonic()
                    note(f"{self.store.url}/{self.name}: {self._have / reply.size:.0%} of {reply.size / 1e9:.1f} GB")
        self.file.truncate(self._have)

    def _wait(self, attempt: int, problem: Passing) -> None:
        doubled = min(30.0, self.patience.wait_s * 2 ** (attempt - 1)) * _jitter.uniform(0.5, 1.0)
        seconds = max(problem.wait_s, doubled)
        note(
            f"{self.store.url}/{self.name}: {problem}; asked again in {seconds:.1f} s "
            f"(attempt {attempt + 1} of {self.patience.attempts})"
        )
        if self.stop.wait(seconds):
            raise Stopped


def note(sentence: str) -> None:
    """Say what is no error, but takes time."""
    print(f"note: {sentence}", file=sys.stderr, flush=True)
