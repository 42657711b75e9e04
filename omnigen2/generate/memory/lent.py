"""Weights that lie in the host's memory, and are lent to whoever computes with them."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from omnigen2.generate.memory.pages import drop, read_ahead, read_now

ALIGNED = 512
"""Weights on a desk begin at multiples of so many bytes, as those of CUDA's allocator do."""


class Lent:
    """Some parameters that are at home in the host's memory, best as pages of files.

    After `take_back`, those that work in another number format or on another device are not a number in all places (of
    the right shape, format and device, but without memory); the others are at home, and their pages are given back.

    Args:
        parameters: They stay the same objects.
        device: Where they work.
        dtype: What they work in; what they are in if None.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], device: torch.device, dtype: torch.dtype | None) -> None:
        self.parameters = list(parameters)
        self.homes: list[Tensor] = [parameter.data for parameter in self.parameters]
        self.resting = [_at_rest(home, device, dtype) for home in self.homes]
        moved = [rest for home, rest in self._pairs() if rest is not home]
        self.bytes = sum(map(_room, moved))

    def lend(self) -> None:
        """Put the weights where they work, in memory of their own where they have to move."""
        self.point_to([home if rest is home else home.to(rest) for home, rest in self._pairs()])
        if self.bytes:
            self.drop()

    def lay_out(self, desk: Tensor, front: Tensor | None = None) -> list[Tensor]:
        """Copy what has to move to a desk, for `point_to`.

        Args:
            desk: At least `bytes` bytes where the weights work, uint8.
            front: As many in the host's memory that weights pass through, in the number format that they work in.
        """
        places: list[Tensor] = []
        start = 0
        for home, rest in self._pairs():
            if rest is home:
                places.append(home)
                continue
            place = _place(desk, start, rest)
            source = home if front is None else _place(front, start, rest).copy_(home)
            places.append(place.copy_(source, non_blocking=True))
            start += _room(rest)
        return places

    def point_to(self, places: Sequence[Tensor]) -> None:
        """Compute with these from now on."""
        for parameter, place in zip(self.parameters, places, strict=True):
            parameter.data = place

    def take_back(self) -> None:
        """Let go of what was lent."""
        self.point_to(self.resting)
        self.drop()

    def drop(self) -> None:
        """Give back pages of files; they are read again when somebody looks at them."""
        drop(self.homes)

    def read_now(self) -> None:
        """Have pages of files at hand."""
        read_now(self.homes)

    def read_ahead(self) -> None:
        """Let the system read pages of files while something else goes on."""
        read_ahead(self.homes)

    def _pairs(self) -> Iterable[tuple[Tensor, Tensor]]:
        return zip(self.homes, self.resting, strict=True)


def _at_rest(home: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    """A tensor at rest: itself if it works where and as it is, else one number in all places of its shape."""
    dtype = home.dtype if dtype is None or not home.is_floating_point() else dtype
    if (dtype, device) == (home.dtype, home.device):
        return home
    return torch.full((), float("nan") if dtype.is_floating_point else 0, dtype=dtype, device=device).expand(home.shape)


def _place(room: Tensor, start: int, rest: Tensor) -> Tensor:
    """Where a tensor like another one begins in a room of bytes."""
    return room[start : start + rest.numel() * rest.element_size()].view(rest.dtype).view(rest.shape)


def _room(tensor: Tensor) -> int:
    """Bytes of a tensor on a desk."""
    return -(-tensor.numel() * tensor.element_size() // ALIGNED) * ALIGNED
