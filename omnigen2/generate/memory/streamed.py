"""Blocks that have their weights one block at a time, the next one's arriving while this one works."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from omnigen2.generate.memory.lent import Lent


@dataclass
class Desk:
    """Room for the weights of one block.

    Attributes:
        room: uint8, where the blocks work.
        front: As much of the host's memory, in front of it; None where weights are copied without a stop.
        number: The block whose weights lie there; None if nobody's do.
        places: Those weights.
        ready: On CUDA, when they have arrived.
        done: On CUDA, when nobody computes with what lay there before.
    """

    room: Tensor
    front: Tensor | None = None
    number: int | None = None
    places: Sequence[Tensor] = field(default_factory=tuple)
    ready: torch.Event | None = None
    done: torch.Event | None = None


class Streamed:
    """Hooks on blocks that lend each block its weights for as long as it works.

    On the host, blocks in the number format of their files work out of the pages of these, which are given back behind
    them while the system reads the next one's; others are converted at a desk. On a CUDA device there are two desks:
    the next block is copied to one, on a stream of its own, while a block works at the other; the way leads through
    page-locked memory, from where the device fetches by itself. Next is what came next the last time, at first what
    stands behind in the list; if another comes, it waits for its copy.

    Args:
        blocks: Called in whatever order and as often as one likes, none inside another.
        device: Where they work.
        dtype: What they work in; what they are in if None.
        desks: How many; by default two on CUDA and one elsewhere.
        fronts: Whether there is memory of the host in front of each desk; by default on CUDA, where it is page-locked.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        device: torch.device,
        dtype: torch.dtype | None = None,
        desks: int | None = None,
        fronts: bool | None = None,
    ) -> None:
        self.lent = [Lent(block.parameters(), device, dtype) for block in blocks]
        self.device = device
        self.side = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.desks: list[Desk] = []
        self._wanted = desks or (1 if self.side is None else 2)
        self._fronts = self.side is not None if fronts is None else fronts
        self._next = {number: (number + 1) % len(blocks) for number in range(len(blocks))}
        self._last: int | None = None
        self._current: Desk | None = None
        for number, block in enumerate(blocks):
            block.register_forward_pre_hook(partial(self._enter, number))
            block.register_forward_hook(partial(self._leave, number), always_call=True)

    def take_back(self) -> None:
        """Let go of everything."""
        if self.side is not None:
            self.side.synchronize()
        for lent in self.lent:
            lent.take_back()
        self.desks, self._current, self._last = [], None, None

    def _enter(self, number: int, *_: object) -> None:
        if self._last is not None:
            self._next[self._last] = number
        self._last = number
        lent = self.lent[number]
        if not lent.bytes:
            lent.read_now()
            self.lent[self._next[number]].read_ahead()
            return
        if not self.desks:
            size = max(each.bytes for each in self.lent)
            self.desks = [self._desk(size) for _ in range(self._wanted)]
        desk = next((desk for desk in self.desks if desk.number == number), None) or self._fill(self.desks[0], number)
        if desk.ready is not None:
            torch.cuda.current_stream(self.device).wait_event(desk.ready)
        lent.point_to(desk.places)
        self._current = desk

    def _leave(self, number: int, *_: object) -> None:
        self.lent[number].take_back()
        desk, self._current = self._current, None
        if desk is None:
            return
        desk.number, desk.places = None, ()
        if self.side is not None:
            desk.done = torch.cuda.current_stream(self.device).record_event()
        for other in self.desks:
            if other is not desk and other.number != self._next[number]:
                self._fill(other, self._next[number])

    def _desk(self, size: int) -> Desk:
        locked = self.side is not None
        front = torch.empty(size, dtype=torch.uint8, pin_memory=locked) if self._fronts else None
        return Desk(torch.empty(size, dtype=torch.uint8, device=self.device), front)

    def _fill(self, desk: Desk, number: int) -> Desk:
        """Copy a block's weights to a desk, once nobody works there."""
        lent = self.lent[number]
        lent.read_now()
        if desk.front is not None and desk.ready is not None:
            desk.ready.synchronize()  # nothing is on its way from there any more
        with nullcontext() if self.side is None else torch.cuda.stream(self.side):
            if self.side is not None and desk.done is not None:
                self.side.wait_event(desk.done)
            desk.places = lent.lay_out(desk.room, desk.front)
            desk.ready = None if self.side is None else self.side.record_event()
        lent.drop()
        desk.number = number
        return desk


def streamable(model: nn.Module) -> list[nn.Module]:
    """The members of a model's outermost lists of modules, in the order in which they are registered.

    But for the first of the longest list: caches between steps look at its weights without calling it.
    """
    lists = _lists(model)
    longest = max(lists, key=len, default=None)
    return [block for some in lists for block in list(some)[some is longest :]]


def _lists(model: nn.Module) -> list[nn.ModuleList]:
    if isinstance(model, nn.ModuleList):
        return [model]
    return [found for child in model.children() for found in _lists(child)]
