"""Which part of each step a process trains on, and what processes tell one another of samples that they left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.distributed as dist

from omnigen2.data.samples import DataError


@dataclass(frozen=True)
class Replica:
    """Which part of each step this process trains on: rank 0 to world - 1.

    Raises:
        DataError: If the rank is out of range.
    """

    rank: int
    world: int

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise DataError(f"rank must be from 0 to world - 1, got rank {self.rank} of {self.world}")

    @classmethod
    def here(cls) -> "Replica":
        """This process as torch.distributed knows it; rank 0 of 1 if it was not started."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls(0, 1)


@dataclass(frozen=True)
class LeftOut:
    """What was left out of a step.

    Attributes:
        fewest: Examples of the rank that has the fewest left.
        broken: What is wrong with each sample, of all ranks that could be asked, in their order.
    """

    fewest: int
    broken: tuple[str, ...]


class Exchange:
    """Tells all ranks what each has left out of a step; each must make one and call it for every step.

    It goes from host to host, and so waits for no device: two numbers for a step of which nothing was left out.
    """

    def __init__(self) -> None:
        group = dist.new_group(backend="gloo") if "nccl" in dist.get_backend() else None
        self._group = cast(dist.ProcessGroup | None, group)

    def __call__(self, examples: int, broken: Sequence[str]) -> LeftOut:
        """The same on all ranks.

        Args:
            examples: What this rank has left.
            broken: What it has left out.
        """
        words = "\n".join(" ".join(problem.split()) for problem in broken).encode("utf-8", "replace")
        most = torch.tensor([-examples, len(words)])
        dist.all_reduce(most, dist.ReduceOp.MAX, group=self._group)
        fewest, length = -int(most[0]), int(most[1])
        if not length:
            return LeftOut(fewest, ())
        padded = torch.frombuffer(bytearray(words.ljust(length)), dtype=torch.uint8)
        everyone = [torch.empty_like(padded) for _ in range(dist.get_world_size(self._group))]
        dist.all_gather(everyone, padded, group=self._group)
        texts = [bytes(one.tolist()).decode().strip() for one in everyone]
        return LeftOut(fewest, tuple(problem for text in texts if text for problem in text.split("\n")))
