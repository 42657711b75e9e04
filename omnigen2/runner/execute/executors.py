"""Which executor carries a plan out."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor

from omnigen2.errors import UserError
from omnigen2.runner.execute.local import LocalProcesses
from omnigen2.runner.plan import Machines, Place


def executor_for(
    machines: Machines,
    places: Iterable[Place],
    *,
    jobs: int,
    threads: int,
    modules: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Executor:
    """Make the executor of a plan; leave it by `with`, which ends what it runs if an error or Ctrl-C does.

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
