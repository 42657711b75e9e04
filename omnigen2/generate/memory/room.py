"""Whether a machine has the memory that drawing needs, and what would fit if it has not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import torch

from omnigen2.encoders import VAEMemory
from omnigen2.generate.memory.asked import RoomError
from omnigen2.generate.memory.estimate import Estimate
from omnigen2.generate.memory.machine import free_memory
from omnigen2.generate.memory.resting import Offload
from omnigen2.quantize import Quantization

NAMES = {torch.bfloat16: "bfloat16", torch.float32: "float32"}


@dataclass(frozen=True)
class Way:
    """A way to draw, as far as memory is concerned."""

    dtype: torch.dtype
    offload: Offload = "none"
    vae_memory: VAEMemory = "one_by_one"
    quantize: Quantization = "none"

    def changes(self, other: "Way") -> dict[str, str]:
        """What is to be set to go another way, by name."""
        found: dict[str, str] = {}
        if other.vae_memory != self.vae_memory:
            found["vae_memory"] = other.vae_memory
        if other.dtype != self.dtype:
            found["dtype"] = NAMES[other.dtype]
        if other.offload != self.offload:
            found["offload"] = other.offload
        return found


def check_room(need: Callable[[Way], Estimate], way: Way, device: torch.device, free: int | None = None) -> Estimate:
    """Refuse what needs more memory than there is, before anything is loaded.

    On the host, pages of files count as far as the system cannot take them back: not at all.

    Args:
        need: What a way needs.
        way: The one that is asked for.
        device: Where the models work.
        free: Bytes there are; asked of the machine if None. What nobody tells is enough.

    Returns:
        What the way needs.

    Raises:
        RoomError: If it does not fit. It names what would, by the same estimate, if anything does.
    """
    free = free_memory(device) if free is None else free
    wanted = need(way)
    if free is None or wanted.own <= free:
        return wanted
    where = "memory of the host" if device.type == "cpu" else f"memory of {device}"
    message = f"drawing needs about {wanted.own / 1e9:.1f} GB of the {where}, {free / 1e9:.1f} GB are free"
    fitting = [way.changes(other) for other in _others(way, device) if need(other).own <= free]
    few = min(map(len, fitting), default=0)
    best = [changes for changes in fitting if len(changes) == few]
    if not best:
        raise RoomError(message, "nothing here makes it fit: draw smaller pictures, or fewer together")
    if few == 1:
        words: dict[str, str] = {}
        for changes in best:
            for name, value in changes.items():
                words.setdefault(name, f"set {{}} to {value}")
        raise RoomError(message, "", words)
    several = " and ".join(f"{name} to {value}" for name, value in best[0].items())
    raise RoomError(message, f"it fits with several changes: set {several}")


def _others(way: Way, device: torch.device) -> Iterator[Way]:
    """Ways that need less, those that cost least first."""
    resting: tuple[Offload, ...] = ("stages", "blocks") if device.type == "cpu" else ("idle", "stages", "blocks")
    resting = resting if way.quantize == "none" else ()  # quantised weights are in no file
    offloads = (way.offload, *(one for one in resting if one != way.offload))
    dtypes = tuple(dict.fromkeys((way.dtype, torch.bfloat16)))
    memories: tuple[VAEMemory, ...] = tuple(dict.fromkeys((way.vae_memory, "tiled")))
    for offload, dtype, memory in product(offloads, dtypes, memories):
        if (other := replace(way, offload=offload, dtype=dtype, vae_memory=memory)) != way:
            yield other
