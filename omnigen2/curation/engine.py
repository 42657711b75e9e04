"""Where the work on clips is done: in this process, or by Ray Data on this machine or a cluster.

What is done with a row is a `Work`; nothing is scheduled by our own code.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from typing_extensions import override

from omnigen2.curation.step import Resources

Json: TypeAlias = Mapping[str, Any]
Do: TypeAlias = Callable[[Json], Json]


@dataclass(frozen=True)
class Work:
    """One thing that is done with every row.

    Attributes:
        do: From a row of JSON to a row of JSON; it catches its own errors.
    """

    do: Do
    resources: Resources = Resources()


class Engine(ABC):
    """Does work with rows."""

    @contextmanager
    def running(self) -> Generator[None]:
        """Start what it needs, and stop that afterwards; it can be done again inside.

        Yields:
            Nothing.
        """
        yield

    def check(self, resources: Sequence[Resources]) -> None:
        """Find out beforehand whether all kinds of work can be done side by side.

        Raises:
            CurationError: If workers would take all cores, or more GPUs than there are.
        """
        return

    @abstractmethod
    def run(self, rows: Sequence[Json], works: Sequence[Work]) -> Iterator[tuple[int, Json]]:
        """Let every row go through all works.

        Yields:
            The number of a row and what became of it, as soon as it is done, in any order.
        """


class InProcess(Engine):
    """One clip after another, in this process: for notebooks, tests and small folders."""

    @override
    def run(self, rows: Sequence[Json], works: Sequence[Work]) -> Iterator[tuple[int, Json]]:
        for number, row in enumerate(rows):
            for work in works:
                row = work.do(row)
            yield number, row
