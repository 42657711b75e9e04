"""What carries the runs of a plan out in other processes, and what each run takes there."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omnigen2.errors import UserError
from omnigen2.runner.execute.local import LocalProcesses
from omnigen2.runner.plan import Machines, Place, Plan, Run, place


@dataclass(frozen=True)
class Elsewhere:
    """What carries runs out in other processes.

    Attributes:
        make: Makes it, once there is something to do.
        places: What each run takes.
        jobs: So many at once; None if that is not known.
        threads: So many each may use; None for as many as it likes.
        stop: Ends what earlier commands have left that would still write in these folders; nothing for None.
    """

    make: Callable[[], Executor]
    places: Mapping[Run, Place]
    jobs: int | None
    threads: int | None
    stop: Callable[[Iterable[Path]], None] | None = None


def elsewhere_for(plan: Plan, say: Callable[[str], None]) -> Elsewhere | None:
    """Where the runs of a plan go: those of several cells into processes of their own, all others stay here: None.

    Args:
        plan: The plan, whose machines say more.
        say: Tells the user one thing.

    Raises:
        UserError: If a run and the machines contradict each other.
    """
    kind = plan.machines.executor or ("here" if len(plan.cells) == 1 and plan.machines.gpus is None else "local")
    if kind == "here":
        return None
    machines, gpus = plan.machines.under({"executor": kind}), visible_gpus()
    places = {run: place(run.config.values["trainer"], machines, len(gpus)) for run in plan.runs}
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    jobs = machines.jobs or cores
    # The share of threads must not depend on how many runs are left: it changes the last digits of sums.
    threads = max(1, cores // jobs)
    modules = sorted({name for run in plan.runs for name in _modules(run.config.values)})
    make = partial(executor_for, machines, places.values(), jobs=jobs, threads=threads, modules=modules, say=say)
    if kind == "local":
        return Elsewhere(make, places, jobs, threads)
    stop = None
    if kind == "slurm":
        from omnigen2.runner.execute import slurm

        stop = partial(slurm.stop, say=say)
    return Elsewhere(make, places, machines.jobs, machines.cpus, stop)


def executor_for(
    machines: Machines,
    places: Iterable[Place],
    *,
    jobs: int,
    threads: int,
    modules: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Executor:
    """Make the executor of a plan.

    Args:
        machines: What the user wants.
        places: What each run takes.
        jobs: On this machine so many side by side, each with so many `threads`.
        modules: What the runs import.
        say: Tells the user one thing.

    Raises:
        UserError: If there is no such executor here, or it has too little for a run.
    """
    match machines.executor:
        case "slurm":
            from omnigen2.runner.execute.slurm import Slurm

            return Slurm(machines, say)
        case "ray":
            from omnigen2.runner.execute.on_ray import Ray

            return Ray(machines)
        case "local" | "here" | None:
            gpus = visible_gpus()
            most = max((place.gpus for place in places), default=0)
            if most > len(gpus):
                raise UserError(
                    f"a run asks for {most} GPUs, and this machine has {len(gpus)}",
                    "lower trainer.devices, set --trainer.accelerator=cpu, or send the runs elsewhere by --executor",
                )
            return LocalProcesses(jobs, threads, modules, gpus)


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, by the names that `CUDA_VISIBLE_DEVICES` has for them."""
    from torch import cuda

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = named.split(",") if named else map(str, range(cuda.device_count()))
    return tuple(names)[: cuda.device_count()]


def _modules(value: Any) -> Iterator[str]:
    # of all classes that a configuration names
    if isinstance(value, dict) and isinstance(path := value.get("class_path"), str) and "." in path:
        yield path.rpartition(".")[0]
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _modules(inner)
