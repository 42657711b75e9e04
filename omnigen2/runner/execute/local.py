"""Processes of this machine: each job in one of its own, which ends with this one whatever ends it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import traceback
from abc import abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from typing_extensions import override

LOG = "log.txt"
WORKER = (sys.executable, "-m", "omnigen2.runner.execute")
"""With the folder of a job behind it, it does the job in a process that Lightning can start again for other ranks."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
STARTING = threading.Lock()
"""Held while a process is started or its end is read: `multiprocessing` reads the ends of all of them at any start."""


@runtime_checkable
class Job(Protocol):
    """What executors read of a job: its folder, and what it takes (see `Place` in `omnigen2.runner.plan`)."""

    folder: str
    devices: int
    nodes: int
    gpus: int


Work = Callable[[Any], int]
"""Does a job, and says how it ended: 0 if it is finished."""


class Pool(Executor):
    """Runs each job by `_run(work, job)` in a thread, which waits for the exit code.

    Args:
        jobs: So many side by side.
    """

    def __init__(self, jobs: int) -> None:
        self._pool = ThreadPoolExecutor(jobs)

    @override
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._pool.submit(self._run, fn, *args)

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Start no more jobs; end those that run if futures are cancelled, else `wait` for them."""
        self._pool.shutdown(wait=False, cancel_futures=cancel_futures)
        if cancel_futures:
            self._end()
        self._pool.shutdown(wait)

    @abstractmethod
    def _run(self, work: Work, job: Job) -> int: ...

    @abstractmethod
    def _end(self) -> None: ...


class LocalProcesses(Pool):
    """Runs `work(job)` in processes; a future's result is the exit code, negative for the signal that ended it.

    The processes are forked from a server that has imported `modules` once, since that takes seconds and a job may take
    no longer. Where there is no such server they are started afresh. All processes of a job end with it.

    Args:
        jobs: So many side by side.
        threads: So many may each use for its computations.
        modules: Modules that the server imports.
        gpus: GPUs that are shared out, by the names that `CUDA_VISIBLE_DEVICES` has for them.
        command: Does a job of several devices, with the job's folder as its last argument.
    """

    def __init__(
        self,
        jobs: int,
        threads: int = 1,
        modules: Sequence[str] = (),
        gpus: Sequence[str] = (),
        command: Sequence[str] = WORKER,
    ) -> None:
        super().__init__(jobs)
        self._gpus, self._free = tuple(gpus), list(gpus)
        self._changed = threading.Condition()
        self._running: set[BaseProcess] = set()
        self._closed = False
        self._command = tuple(command)
        self._environment = dict.fromkeys(THREADS, str(threads))
        methods = multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        self._context.set_forkserver_preload([__name__, *modules])

    @override
    def _end(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        with STARTING:
            for process in self._running:
                process.kill()  # it may not have a group yet
                _end_group(process)

    @override
    def _run(self, work: Work, job: Job) -> int:
        with self._given(job.gpus) as gpus:
            own = self._environment | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if self._gpus else {})
            command = (*self._command, job.folder) if job.devices > 1 else ()
            process = self._context.Process(target=_child, args=(work, job, own, command))  # pyright: ignore
            with STARTING, _within(own | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}):
                if self._closed:
                    return -signal.SIGKILL
                process.start()
                self._running.add(process)
            connection.wait([process.sentinel])
            with STARTING:
                process.join()
                self._running.remove(process)
                _end_group(process)
            return process.exitcode or 0

    @contextmanager
    def _given(self, count: int) -> Generator[list[str]]:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._free) >= count)
            given, self._free = self._free[:count], self._free[count:]
        try:
            yield given
        finally:
            with self._changed:
                self._free += given
                self._changed.notify_all()


def exit_code(work: Work, job: Job) -> int:
    """Do a job; an exception makes 1 of it, and stands in the log of the job's folder."""
    try:
        return work(job)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception:
        with Path(job.folder, LOG).open("a", encoding="utf-8") as log:
            traceback.print_exc(file=log)
        return 1


def _child(work: Work, job: Job, environment: Mapping[str, str], command: Sequence[str]) -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    os.environ.update(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if command:
        with Path(job.folder, LOG).open("ab") as log:
            code = subprocess.call(command, stdout=log, stderr=log)  # noqa: S603
        if code < 0:
            os.kill(os.getpid(), -code)
    else:
        code = exit_code(work, job)
    sys.exit(code)


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        connection.wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)


def _end_group(process: BaseProcess) -> None:
    # its loaders, and its processes for other devices
    with suppress(ProcessLookupError, PermissionError):
        if process.pid:
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _within(environment: Mapping[str, str]) -> Generator[None]:
    # what a process, or the server, finds when it starts
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
