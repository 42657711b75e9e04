"""Processes that train together stop together: what one of them finds out alone stops all, and is said once."""

from collections.abc import Callable
from typing import NoReturn, TypeVar

from omnigen2.errors import UserError
from omnigen2.runner.keep import of_all_processes
from omnigen2.shards import is_first_process

STATUS = 2
"""With which a command ends that the user has to mend."""
Result = TypeVar("Result")


def on_all_processes(work: Callable[[], Result]) -> Result:
    """Do what may be refused on one process alone, and stop all of them if it is; every process must call it.

    Args:
        work: No collective call.

    Raises:
        UserError: If some process was refused, with the reason of the first of them; see `stop_all_processes`.
    """
    own: UserError | None = None
    results: list[Result] = []
    try:
        results.append(work())
    except UserError as error:
        own = error
    problems = [other["problem"] for other in of_all_processes({"problem": None if own is None else str(own)})]
    if own is not None and is_first_process():
        raise own
    if (first := next((found for found in problems if found is not None), None)) is not None:
        stop_all_processes(first)
    return results[0]


def stop_all_processes(reason: str) -> NoReturn:
    """End the run on every process, each of which calls it with the same reason.

    Raises:
        UserError: On the first process, with the reason.
        SystemExit: On the others, which have nothing to add.
    """
    if is_first_process():
        raise UserError(reason)
    raise SystemExit(STATUS)
