"""Ray: each job is a task of a cluster that runs already, or of one of this machine."""

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.runner.execute.local import Job, LocalProcesses, Work, exit_code
from omnigen2.runner.plan import Machines


class Ray(Executor):
    """Runs `work(job)` as tasks of Ray; a future's result is the exit code. All machines must see the folders.

    Args:
        machines: What every job asks for. The cluster is that of `RAY_ADDRESS`, else one of this machine.

    Raises:
        UserError: If there is no Ray.
    """

    def __init__(self, machines: Machines) -> None:
        if importlib.util.find_spec("ray") is None:
            raise UserError("--executor=ray needs the package ray", "pip install 'omnigen2[ray]'")
        os.environ.setdefault(
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0"
        )  # one of this machine listens on 127.0.0.1 alone
        self._ray: Any = importlib.import_module("ray")
        self._machines = machines
        self._tasks: list[Any] = []
        self._pool = ThreadPoolExecutor(machines.jobs or 256)
        if not self._ray.is_initialized():
            try:
                self._ray.init(logging_level="ERROR", log_to_driver=False)
            except (SystemExit, ConnectionError, RuntimeError) as error:
                address = os.environ.get("RAY_ADDRESS", "this machine")
                raise UserError(f"there is no Ray at {address}: {error}", "start it, or unset RAY_ADDRESS") from error

    @override
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._pool.submit(self._run, fn, *args, **kwargs)

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait=False, cancel_futures=cancel_futures)
        if cancel_futures:
            for task in self._tasks:
                self._ray.cancel(task, force=True)
        self._pool.shutdown(wait)

    @override
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self.shutdown(cancel_futures=error is not None)

    def _run(self, work: Work, job: Job) -> int:
        wanted = self._machines
        remote = self._ray.remote(
            num_cpus=(wanted.cpus or 1) * job.devices,
            num_gpus=job.gpus,
            memory=wanted.memory and int(wanted.memory * 2**30),
            max_retries=0,
        )(in_a_process)
        task = remote.remote(work, job)
        self._tasks.append(task)
        return exit_code(lambda _: self._ray.get(task), job)


def in_a_process(work: Work, job: Job) -> int:
    """Do a job in a process that is used for nothing else, and ends with the task."""
    gpus = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    with LocalProcesses(1, threads=int(os.environ.get("OMP_NUM_THREADS") or 1), gpus=gpus) as here:
        return here.submit(work, job).result()
