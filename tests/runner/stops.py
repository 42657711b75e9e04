"""Ends a run at any moment, in this process: at the n-th call of a hook, or at the n-th line of the runner's code."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, Trainer

import omnigen2

CODE = Path(omnigen2.__file__).parent
WRITERS = frozenset(map(str, (*CODE.glob("runner/keep/*.py"), CODE / "runner/execute/run.py", CODE / "files/text.py")))
"""All that reads or writes the folder of a run, or decides when."""


class Stopped(BaseException):
    """No `Exception`: nothing of the runner may catch it, as nothing catches the end of a process."""


class Raise(Callback):
    """Raises something at the n-th call of a hook."""

    def __init__(self, error: BaseException, hook: str, count: int) -> None:
        self.error = error
        self.left = count
        setattr(self, hook, self._count)

    def _count(self, trainer: Trainer, *arguments: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error


class Lines:
    """Counts the lines of the runner's code that are passed; the n-th one, if there is such, ends the run."""

    def __init__(self, last: int = 0) -> None:
        self.passed = 0
        self.last = last

    @contextmanager
    def watched(self) -> Generator[None]:
        """Count while the context lasts."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename in WRITERS else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.passed += 1
            if self.passed == self.last:
                raise Stopped
        return self._line
