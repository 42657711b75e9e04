"""One generated case: what it may do, and what of all that it does is a find."""

import logging
import re
import signal
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from omnigen2.errors import UserError

Case: TypeAlias = tuple[str, Callable[[], object]]
"""What was done to which file; and the call that must end, or say in words what is wrong with the file.

An `AssertionError` of the call itself means that something wrong was accepted."""
Cases: TypeAlias = Callable[[int], Iterator[Case]]

SECONDS = 10
ALLOWED = (UserError, OSError, SystemExit)
ABOUT_WEIGHTS = re.compile(
    r"newly initialized|were not used|not initialized from|some weights|should probably train|size mismatch|"
    r"missing keys|unexpected keys|ignored in the configuration|not expected and will be ignored",
    re.IGNORECASE,
)
"""What libraries say where they make up, or pass over, what a file has."""


class Hung(Exception):
    """A case that takes too long. No `TimeoutError`: that is an OSError, and allowed."""


class _Kept(logging.Handler):
    """Keeps what libraries say about weights and settings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def find(call: Callable[[], object]) -> str:
    """Run a case.

    Returns:
        Empty if it did what it may, otherwise the last line of its error, or what a library said.
    """
    try:
        with listening() as said, deadline(SECONDS):
            call()
    except ALLOWED:
        return ""
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = next((f"{f.filename}:{f.lineno}" for f in reversed(frames) if "/omnigen2/" in f.filename), "")
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({place})"
    return next((f"a library said: {line[:300]}" for line in said if ABOUT_WEIGHTS.search(line)), "")


@contextmanager
def listening() -> Generator[list[str]]:
    """Yields what transformers, diffusers and peft say while it lasts."""
    kept, loggers = _Kept(), [logging.getLogger(name) for name in ("transformers", "diffusers", "peft")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for logger in loggers:
            logger.addHandler(kept)
        try:
            yield kept.said
        finally:
            for logger in loggers:
                logger.removeHandler(kept)
            kept.said += [str(one.message) for one in caught]


@contextmanager
def deadline(seconds: float) -> Generator[None]:
    """Raises `Hung` in the main thread when the time is over."""

    def over(*_: object) -> None:
        raise Hung(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
