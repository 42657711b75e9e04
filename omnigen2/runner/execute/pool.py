"""Runs the cells of a study side by side, each in a process of its own."""

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

from omnigen2.runner.execute.cell import LOG, Task, work
from omnigen2.runner.execute.progress import Progress

State = Literal["waiting", "running", "finished", "failed"]
Watch = Callable[[Task, State, Progress | None], None]


@dataclass(frozen=True)
class Failure:
    """A cell that ended badly: with an exit code (negative for a signal), and with the last lines of its log."""

    task: Task
    exit_code: int
    lines: tuple[str, ...]
    log: Path


@dataclass
class _Worker:
    task: Task
    process: BaseProcess
    pipe: connection.Connection


def usable_cores() -> int:
    """Count the cores that this process may use; at least 1."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_tasks(
    tasks: Sequence[Task],
    jobs: int,
    threads: int,
    modules: Sequence[str],
    watch: Watch,
    tick: Callable[[], None],
) -> list[Failure]:
    """Run all tasks, at most `jobs` at a time; a failing one does not stop the others.

    The processes are forked from a server that has imported torch, lightning and the recipe's modules once, since that
    takes seconds and a cell may take no longer. Where there is no such server they are started afresh.

    Args:
        tasks: What to run, in this order.
        jobs: How many at a time.
        threads: How many threads each may use.
        modules: Modules that the server imports.
        watch: Told of every change.
        tick: Called a few times per second.

    Returns:
        The tasks that failed.
    """
    context = _context(threads, modules)
    waiting = list(tasks)
    workers: list[_Worker] = []
    failures: list[Failure] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                workers.append(_start(context, waiting.pop(0), threads))
                watch(workers[-1].task, "running", None)
            pipes = [worker.pipe for worker in workers if not worker.pipe.closed]
            connection.wait([*pipes, *(worker.process.sentinel for worker in workers)], timeout=0.25)
            for worker in list(workers):
                _receive(worker, watch)
                if not worker.process.is_alive():
                    _receive(worker, watch)
                    workers.remove(worker)
                    failures += _ended(worker, watch)
            tick()
    finally:
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.join()
    return failures


def _context(threads: int, modules: Sequence[str]) -> BaseContext:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload([work.__module__, *modules])
    return context


def _start(context: BaseContext, task: Task, threads: int) -> _Worker:
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(task, threads, there), name=f"{task.row} {task.seed}")  # pyright: ignore
    process.start()
    there.close()
    return _Worker(task, process, here)


def _receive(worker: _Worker, watch: Watch) -> None:
    try:
        while not worker.pipe.closed and worker.pipe.poll():
            watch(worker.task, "running", Progress(**json.loads(worker.pipe.recv_bytes())))
    except (EOFError, OSError):  # the process has ended, perhaps in the middle of a message
        worker.pipe.close()


def _ended(worker: _Worker, watch: Watch) -> list[Failure]:
    worker.process.join()
    code = worker.process.exitcode or 0
    if code == 0:
        watch(worker.task, "finished", None)
        return []
    watch(worker.task, "failed", None)
    log = worker.task.folder / LOG
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return [Failure(worker.task, code, tuple(lines[-3:]), log)]
