"""Processes that train together: the first one alone cares for the folder, the others wait until it has."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from threading import Timer
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch.distributed.rendezvous import rendezvous

from omnigen2.errors import UserError

PATIENCE = timedelta(minutes=30)
"""The longest wait for processes of the same launch that are still starting."""
SILENT_SECONDS = 20.0
"""After so many it says what it waits for."""
STEP = ("SLURM_STEP_ID", "SLURM_STEPID")
"""One of them is set in what `srun` has started, and not in a batch script."""
OF_A_PROCESS = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
IN_ORDER = "omnigen2 run/in order"
KNOWN = "omnigen2 run/known by {}"


def is_first() -> bool:
    """Whether this process is the only one, or the first of those that train together."""
    return _rank() == 0


def started_together() -> int:
    """Number of processes that `torchrun` or `srun` has started at once; 1 where Lightning itself starts them."""
    environment = _environment()
    return 1 if environment is None else environment.world_size()


def check_launch() -> None:
    """Refuse a process that would wait for others which nobody has started.

    Raises:
        UserError: If the environment speaks of several processes, and this one was started alone.
    """
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return
    tasks, alone = os.environ["SLURM_NTASKS"], "for one process, run it with SLURM_NTASKS=1 (or --ntasks=1)"
    if not tasks.isdecimal() or int(tasks) < 1:
        raise UserError(f"SLURM_NTASKS is {tasks!r}, expected a number of processes", alone)
    if int(tasks) > 1 and not any(name in os.environ for name in STEP):
        raise UserError(
            f"SLURM_NTASKS={tasks} asks for {tasks} processes, and this one was not started by srun: it would wait for "
            "the others",
            f"start it as `srun lightning run …`; {alone}",
        )
    if missing := [name for name in OF_A_PROCESS if not os.environ.get(name, "").isdecimal()]:
        raise UserError(
            f"SLURM_NTASKS is set, and {missing[0]} is no number", f"start it as `srun lightning run …`; {alone}"
        )
    _environment()


def follow_the_first() -> None:
    """Let no process read the folder before the first one has brought it in order; every process calls it.

    The first process calls it when nothing in the folder will change any more before all of them train, and goes on
    as soon as all others know. Processes that Lightning starts come later by themselves: for them nothing happens.
    """
    with _saying_so():
        if (store := _store()) is None:
            return
        if is_first():
            store.set(IN_ORDER, "yes")
            store.wait([KNOWN.format(rank) for rank in range(1, started_together())], PATIENCE)
        else:
            store.wait([IN_ORDER], PATIENCE)
            store.set(KNOWN.format(_rank()), "yes")


@contextmanager
def _saying_so() -> Generator[None]:
    # says what is waited for, if it takes long
    minutes = PATIENCE.total_seconds() / 60
    words = f"process {_rank()} waits for the others of {started_together()}, at most {minutes:.0f} minutes"
    timer = Timer(SILENT_SECONDS, lambda: print(words, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _rank() -> int:
    return getattr(rank_zero_only, "rank", 0)


def _environment() -> TorchElasticEnvironment | SLURMEnvironment | None:
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    try:
        return SLURMEnvironment() if SLURMEnvironment.detect() else None
    except RuntimeError as error:  # Lightning refuses --ntasks without --ntasks-per-node
        raise UserError(str(error)) from error


@cache  # the first process may be the one that serves it, for as long as there is a reference
def _store() -> Any:  # a `torch.distributed.Store`, or None
    environment = _environment()
    if environment is None or environment.world_size() == 1:
        return None
    _ = environment.main_address, environment.main_port  # SLURM's are not in the process environment before
    world, rank = environment.world_size(), environment.global_rank()
    store, _, _ = next(iter(rendezvous("env://", rank=rank, world_size=world, timeout=PATIENCE)))
    return store
