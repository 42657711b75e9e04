"""Which part of each step a process trains on, and what processes tell one another of samples that they left out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

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
    """What ranks tell one another; each must make one, and call each method as often and in the same order.

    It goes from host to host, and so waits for no device.
    """

    def __init__(self) -> None:
        group = dist.new_group(backend="gloo") if "nccl" in dist.get_backend() else None
        self._group = cast(dist.ProcessGroup | None, group)

    def left_out(self, examples: int, broken: Sequence[str]) -> LeftOut:
        """The same on all ranks; two numbers are told for a step of which nothing was left out.

        Args:
            examples: What this rank has left.
            broken: What it has left out.
        """
        words = "\n".join(" ".join(problem.split()) for problem in broken).encode("utf-8", "replace")
        fewest, length = self._largest(-examples, len(words))
        texts = self._gathered(words, length) if length else []
        return LeftOut(-fewest, tuple(problem for text in texts if text for problem in text.decode().split("\n")))

    def everyone(self, state: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What each rank gives, in their order: plain values that JSON can hold."""
        content = json.dumps(state).encode()
        (length,) = self._largest(len(content))
        return [json.loads(text) for text in self._gathered(content, length)]

    def _largest(self, *numbers: int) -> list[int]:
        most = torch.tensor(numbers)
        dist.all_reduce(most, dist.ReduceOp.MAX, group=self._group)
        return most.tolist()

    def _gathered(self, content: bytes, length: int) -> list[bytes]:
        """What each rank has, filled up with spaces to the length of the longest and cut again."""
        padded = torch.frombuffer(bytearray(content.ljust(length)), dtype=torch.uint8)
        everyone = [torch.empty_like(padded) for _ in range(dist.get_world_size(self._group))]
        dist.all_gather(everyone, padded, group=self._group)
        return [one.numpy().tobytes().strip() for one in everyone]
