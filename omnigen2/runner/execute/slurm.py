"""SLURM, by way of submitit: each job is one of its queue, which does not need the command that has submitted it."""

import getpass
import hashlib
import importlib.util
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.files import read_json, write_json
from omnigen2.runner.execute.local import LOG, Job, Work, exit_code
from omnigen2.runner.plan import Machines

ENDED = "ended.json"
"""In the folder of a job: its id in the queue, and the exit code."""
COMMANDS = ("sbatch", "srun", "squeue", "scontrol")
MOST_TIMES = 1000
LOOKS = 120
"""At the queue, until jobs that were ended have left it."""
PUT_BACK = -1
"""How submitit leaves the process after it has put a job back into the queue."""


class Slurm(Executor):
    """Runs `work(job)` in SLURM's queue; a future's result is the exit code.

    A job is found again by its name, which has a digest of its folder: the same command later, also after the machine
    with this one went down, waits for jobs that are still in the queue instead of submitting them twice. At its time
    limit a job goes back into the queue. Its scripts and what it prints before it has a log are in `FOLDER/slurm`.

    Args:
        machines: What every job asks for.
        say: Tells the user that jobs go on without this command.
        seconds: Between two looks at the queue.

    Raises:
        UserError: If this is no machine that can submit jobs.
    """

    def __init__(self, machines: Machines, say: Callable[[str], None], seconds: float = 10.0) -> None:
        if importlib.util.find_spec("submitit") is None:
            raise UserError("--executor=slurm needs the package submitit", "pip install 'omnigen2[slurm]'")
        if missing := [name for name in COMMANDS if shutil.which(name) is None]:
            raise UserError(
                f"--executor=slurm needs SLURM's {missing[0]}, which is not on the path",
                "start the command on a login node of the cluster, or use --executor=local",
            )
        self._machines, self._say, self._seconds = machines, say, seconds
        self._waiting: deque[tuple[Work, Job, Future[Any]]] = deque()
        self._open: dict[str, tuple[Job, Future[Any]]] = {}
        self._missed: set[str] = set()
        self._change = threading.Condition()
        self._new = self._closed = self._left = False
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @override
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._change:
            self._waiting.append((fn, args[0], future))
            self._new = True
            self._change.notify_all()
        return future

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Submit no more jobs; if futures are cancelled leave those alone that are in the queue, else wait for them."""
        with self._change:
            self._closed, self._left = True, cancel_futures
            self._change.notify_all()
        if wait or cancel_futures:
            self._watcher.join()
        if cancel_futures and self._open:
            ids = " ".join(self._open)
            self._say(f"left in SLURM's queue: {ids}; the same command waits for them again, `scancel {ids}` ends them")

    def _watch(self) -> None:
        while not self._left and not (self._closed and not self._waiting and not self._open):
            self._new, queue = False, None
            if (self._waiting or self._open) and (queue := _queue()) is None:
                self._say("SLURM's queue cannot be read; trying again")
            elif queue is not None:
                self._look(queue)
                while self._waiting and len(self._open) < (self._machines.jobs or sys.maxsize) and not self._left:
                    self._start(*self._waiting.popleft(), queue)
            with self._change:
                self._change.wait_for(
                    lambda: self._new or self._left or (self._closed and not (self._waiting or self._open)),
                    self._seconds,
                )
        for _, _, future in self._waiting:
            future.cancel()

    def _start(self, work: Work, job: Job, future: Future[Any], queue: dict[str, str]) -> None:
        try:
            number = queue.get(name_of(job.folder)) or self._submitted(work, job)
            self._open[number] = job, future
        except Exception as error:
            future.set_exception(error)

    def _submitted(self, work: Work, job: Job) -> str:
        from submitit import AutoExecutor
        from submitit.core.utils import FailedJobError

        wanted = self._machines
        executor = AutoExecutor(Path(job.folder, "slurm"), "slurm", slurm_max_num_timeout=MOST_TIMES)
        executor.update_parameters(
            name=name_of(job.folder),
            timeout_min=wanted.minutes,
            nodes=job.nodes,
            tasks_per_node=job.devices,
            gpus_per_node=job.gpus or None,
            cpus_per_task=wanted.cpus,
            mem_gb=wanted.memory,
            slurm_partition=wanted.partition,
            slurm_account=wanted.account,
            slurm_qos=wanted.qos,
            slurm_setup=["export SUBMITIT_PREEMPT_SIGNAL=USR2"],
            slurm_srun_args=["--kill-on-bad-exit=1"],
            # it is told five minutes before its limit, or a quarter of the whole, to finish its step and to save
            slurm_additional_parameters={"signal": f"USR2@{min(300, 15 * wanted.minutes)}", "requeue": True},
        )
        try:
            return str(executor.submit(GoesOn(wanted.minutes), work, job).job_id)
        except FailedJobError as error:
            words = [line for line in str(error).splitlines() if line.startswith("sbatch: error")] or [str(error)]
            raise UserError(f"SLURM refuses {job.folder}: {words[0]}", "change what the runs ask for") from error

    def _look(self, queue: dict[str, str]) -> None:
        # a job is over when it is missing twice: files of other machines come a little later
        before, self._missed = self._missed, self._open.keys() - set(queue.values())
        for number in self._missed & before:
            job, future = self._open.pop(number)
            ended = read_json(Path(job.folder, ENDED)) or {}
            if ended.get("job") != number:
                state = (_output("sacct", "-n", "-X", "--format=State%30", f"--jobs={number}") or "").strip()
                why = f" ({state})" if state else ""
                with Path(job.folder, LOG).open("a", encoding="utf-8") as log:
                    log.write(f"error: SLURM has ended job {number}{why}; what it printed is in {job.folder}/slurm\n")
            future.set_result(ended["code"] if ended.get("job") == number else 1)


class GoesOn:
    """Does a job inside of the queue; one that was stopped before its time limit is put back into it.

    Args:
        minutes: The limit. A job that has saved nothing until then will not do better next time, and fails.
    """

    def __init__(self, minutes: int) -> None:
        self._minutes = minutes
        self._since = time.time()

    def __call__(self, work: Work, job: Job) -> int:
        """Do it; returns the exit code, and leaves the process where there is another one than 0."""
        from submitit import JobEnvironment

        self._since, here = time.time(), JobEnvironment()
        if here.global_rank == 0:
            Path(job.folder, ENDED).unlink(missing_ok=True)  # of the time before
        code = exit_code(work, job)
        if code == 128 + signal.SIGUSR2 and callable(put_back := signal.getsignal(signal.SIGUSR2)):
            put_back(signal.SIGUSR2, None)  # submitit's; the first process of several leaves in it
            sys.exit(0)
        if here.global_rank == 0 and code != PUT_BACK:
            write_json(Path(job.folder, ENDED), {"job": here.job_id, "code": code})
        if code:
            sys.exit(code)
        return code

    def checkpoint(self, work: Work, job: Job) -> Any:
        """What submitit does next time; None for nothing."""
        from submitit.helpers import DelayedSubmission

        saved = max((path.stat().st_mtime for path in Path(job.folder, "checkpoints").rglob("*")), default=0.0)
        if saved > self._since or time.time() < self._since + 30 * self._minutes:
            return DelayedSubmission(self, work, job)
        with Path(job.folder, LOG).open("a", encoding="utf-8") as log:
            log.write(f"error: no checkpoint in {self._minutes} minutes; give it more --time, or save more often\n")
        return None


def stop(folders: Iterable[Path], say: Callable[[str], None], seconds: float = 1.0) -> None:
    """End the jobs of some folders that are in the queue, and wait until they have left it.

    Args:
        folders: Those of runs.
        say: Tells the user which.
        seconds: Between two looks at the queue.

    Raises:
        UserError: If the queue cannot be read, or they stay in it.
    """
    names = {name_of(str(folder)) for folder in folders}
    for look in range(LOOKS if names else 0):
        if (queue := _queue()) is None:
            raise UserError("SLURM's queue cannot be read, and may have jobs of these runs", "try again a little later")
        if not (numbers := [number for name, number in queue.items() if name in names]):
            return
        if look == 0:
            say(f"ends jobs of these runs in SLURM's queue: {' '.join(numbers)}")
            _output("scancel", *numbers)
        time.sleep(seconds)
    if names:
        raise UserError("jobs of these runs do not leave SLURM's queue", "look at squeue, and try again when they have")


def name_of(folder: str) -> str:
    """The name of a folder's job in the queue."""
    path = Path(folder).resolve()
    return "-".join([*path.parts[-3:], hashlib.sha256(str(path).encode()).hexdigest()[:12]]).lstrip("/-")


def _queue() -> dict[str, str] | None:
    """Of this user's jobs that are not over, the id by name; None if the queue cannot be read now."""
    found = _output("squeue", "--noheader", "--format=%i %j", f"--user={getpass.getuser()}")
    lines = [] if found is None else [line.split(maxsplit=1) for line in found.splitlines()]
    return None if found is None else {name.strip(): number for number, name in lines}


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
