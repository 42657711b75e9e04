"""Ray: each job is a task of a cluster that runs already, or of one of this machine."""

import importlib.util
import os
from typing import Any

from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.runner.execute.local import Job, LocalProcesses, Pool, Work, exit_code
from omnigen2.runner.plan import Machines


class Ray(Pool):
    """Runs `work(job)` as tasks of Ray; a future's result is the exit code. All machines must see the folders.

    Args:
        machines: What every job asks for. The cluster is that of `RAY_ADDRESS`, else one of this machine.

    Raises:
        UserError: If there is no Ray.
    """

    def __init__(self, machines: Machines) -> None:
        if importlib.util.find_spec("ray") is None:
            raise UserError("--executor=ray needs the package ray", "pip install 'omnigen2[ray]'")
        # a cluster of this machine listens on 127.0.0.1 alone
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        super().__init__(machines.jobs or 256)
        self._ray: Any = importlib.import_module("ray")
        self._machines = machines
        self._tasks: list[Any] = []
        if not self._ray.is_initialized():
            try:
                self._ray.init(logging_level="ERROR", log_to_driver=False)
            except (SystemExit, ConnectionError, RuntimeError) as error:
                address = os.environ.get("RAY_ADDRESS", "this machine")
                raise UserError(f"there is no Ray at {address}: {error}", "start it, or unset RAY_ADDRESS") from error

    @override
    def _end(self) -> None:
        for task in self._tasks:
            self._ray.cancel(task, force=True)

    @override
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
