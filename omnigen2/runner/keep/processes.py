"""Processes that train together: the first one alone cares for the folder, the others wait until it has."""

from datetime import timedelta
from functools import cache
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch.distributed.rendezvous import rendezvous

PATIENCE = timedelta(minutes=30)
"""The longest wait for processes of the same launch that are still starting."""
IN_ORDER = "omnigen2 run/in order"
KNOWN = "omnigen2 run/known by {}"


def is_first() -> bool:
    """Whether this process is the only one, or the first of those that train together."""
    return _rank() == 0


def started_together() -> int:
    """Number of processes that `torchrun` or `srun` has started at once; 1 where Lightning itself starts them."""
    environment = _environment()
    return 1 if environment is None else environment.world_size()


def follow_the_first() -> None:
    """Let no process read the folder before the first one has brought it in order; every process calls it.

    The first process calls it when nothing in the folder will change any more before all of them train, and goes on
    as soon as all others know. Processes that Lightning starts come later by themselves: for them nothing happens.
    """
    if (store := _store()) is None:
        return
    if is_first():
        store.set(IN_ORDER, "yes")
        store.wait([KNOWN.format(rank) for rank in range(1, started_together())], PATIENCE)
    else:
        store.wait([IN_ORDER], PATIENCE)
        store.set(KNOWN.format(_rank()), "yes")


def _rank() -> int:
    return getattr(rank_zero_only, "rank", 0)


def _environment() -> TorchElasticEnvironment | SLURMEnvironment | None:
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    return SLURMEnvironment() if SLURMEnvironment.detect() else None


@cache  # the first process may be the one that serves it, for as long as there is a reference
def _store() -> Any:  # a `torch.distributed.Store`, or None
    environment = _environment()
    if environment is None or environment.world_size() == 1:
        return None
    _ = environment.main_address, environment.main_port  # SLURM's are not in the process environment before
    world, rank = environment.world_size(), environment.global_rank()
    store, _, _ = next(iter(rendezvous("env://", rank=rank, world_size=world, timeout=PATIENCE)))
    return store
