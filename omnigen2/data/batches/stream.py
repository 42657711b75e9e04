"""The samples of one source that one rank draws, one after another, epoch after epoch."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from omnigen2.data.batches.budget import TokenBudget
from omnigen2.data.batches.order import EpochOrder, Group, order_key, part_of
from omnigen2.data.batches.ranks import Replica
from omnigen2.data.samples import Source

AHEAD = 256
"""Samples whose costs are found at a time."""


class Pick(NamedTuple):
    """One sample of a batch.

    Attributes:
        source: Its name.
        epoch: How often all of the source was drawn before, counted from 0.
        number: Of the sample in the source.
    """

    source: str
    epoch: int
    number: int


class Segment(NamedTuple):
    """Places of the order of an epoch that was cut into so many parts, from `start` to before `stop`."""

    epoch: int
    parts: int
    start: int
    stop: int


class StreamState(TypedDict):
    """Where a rank is in a source.

    Attributes:
        segments: What it draws first; each as in `Segment`.
        epoch: Of which its own part follows then, and those of the epochs thereafter.
        skipped: Samples that were above the budget.
    """

    segments: list[list[int]]
    epoch: int
    skipped: int


class Stream:
    """What a rank draws of a source: its part of each epoch, and before that what a checkpoint left it.

    A part has another rank in each epoch, so that none is always without where there are more ranks than samples.
    """

    def __init__(
        self, name: str, source: Source, budget: TokenBudget, seed: int, replica: Replica, state: StreamState | None
    ) -> None:
        self.name = name
        self.source = source
        self.budget = budget
        self.skipped = 0 if state is None else state["skipped"]
        self.in_a_row = 0
        self._seed = seed
        self._replica = replica
        self._chunks = source.chunks()
        self._segments = [] if state is None else [Segment(*segment) for segment in state["segments"]]
        self._epoch = 0 if state is None else state["epoch"]
        self._order: tuple[tuple[int, int], EpochOrder] | None = None
        self._group: tuple[Segment, Group] | None = None
        self._following: tuple[Segment, Group] | None = None
        self._ahead: list[tuple[int, int]] = []

    def peek(self) -> tuple[Pick, int]:
        """The next sample, and what it costs."""
        if not self._ahead:
            self._look_ahead()
        number, cost = self._ahead[-1]
        return Pick(self.name, self._segments[0].epoch, number), cost

    def take(self) -> None:
        """Go on to the sample after the one that `peek` gives."""
        self._ahead.pop()
        first = self._segments[0]
        if first.start + 1 < first.stop:
            self._segments[0] = first._replace(start=first.start + 1)
        else:
            del self._segments[0]

    def state(self) -> StreamState:
        """Where this rank is."""
        return StreamState(segments=[list(one) for one in self._segments], epoch=self._epoch, skipped=self.skipped)

    def _look_ahead(self) -> None:
        if not self._segments:
            segment, self._epoch = next_part(self._epoch, self._replica, len(self.source))
            self._segments.append(segment)
        first = self._segments[0]
        group = self._enter(first)
        stop = min(first.stop, group.stop, first.start + AHEAD)
        numbers = group.numbers[first.start - group.start : stop - group.start]
        costs = self.budget.costs(self.source.columns(numbers))
        self._ahead = list(zip(numbers.tolist(), costs.tolist(), strict=True))[::-1]

    def _enter(self, segment: Segment) -> Group:
        """The group that a segment starts in.

        When it is a new one, its chunks are told and those of the next, after those of the last one: batches of its
        samples may still be waiting to be read.
        """
        if self._group is None or not _within(segment, *self._group):
            last, following = self._group, self._following
            made = following if following is not None and _within(segment, *following) else self._made(segment)
            more = made[1].stop < segment.stop
            self._following = self._made(segment._replace(start=made[1].stop)) if more else None
            self._group = made
            told = [one[1].chunks for one in (last, made, self._following) if one is not None]
            self.source.soon(np.concatenate(told).tolist())
        return self._group[1]

    def _made(self, segment: Segment) -> tuple[Segment, Group]:
        key = segment.epoch, segment.parts
        if self._order is None or self._order[0] != key:
            made = EpochOrder(self._chunks, segment.parts, order_key(self._seed, self.name, segment.epoch))
            self._order = (key, made)
        return segment, self._order[1].group(segment.start)


def _within(segment: Segment, other: Segment, group: Group) -> bool:
    """Whether a segment starts in a group that another one had."""
    return segment[:2] == other[:2] and group.start <= segment.start < group.stop


def own_part(epoch: int, replica: Replica, length: int) -> Segment:
    """What a rank has of an epoch; nothing, perhaps, where there are more ranks than samples."""
    part = (replica.rank + epoch) % replica.world
    return Segment(epoch, replica.world, *part_of(length, replica.world, part))


def next_part(epoch: int, replica: Replica, length: int) -> tuple[Segment, int]:
    """The part of a rank in the first epoch from this one on in which it has one, and the epoch thereafter."""
    parts = (own_part(later, replica, length) for later in range(epoch, epoch + replica.world))
    segment = next(part for part in parts if part.start < part.stop)
    return segment, segment.epoch + 1


def cut_anew(states: Sequence[StreamState], length: int, world: int) -> list[StreamState]:
    """What other ranks have to draw so that nothing is lost or drawn twice.

    What is left of all epochs that a rank has begun is laid end to end and cut into equal parts.

    Args:
        states: Of all ranks there were.
        length: Samples of the source.
        world: How many ranks there are now.
    """
    epoch = max(state["epoch"] for state in states)
    left = [Segment(*segment) for state in states for segment in state["segments"]]
    for rank, state in enumerate(states):
        replica = Replica(rank, len(states))
        left += [own_part(missing, replica, length) for missing in range(state["epoch"], epoch)]
    left = sorted(segment for segment in left if segment.start < segment.stop)
    total = sum(segment.stop - segment.start for segment in left)
    skipped = sum(state["skipped"] for state in states)
    parts: list[StreamState] = []
    for rank in range(world):
        own = _between(left, *part_of(total, world, rank))
        parts.append(StreamState(segments=[list(one) for one in own], epoch=epoch, skipped=0 if rank else skipped))
    return parts


def _between(segments: Sequence[Segment], start: int, stop: int) -> list[Segment]:
    """Of segments laid end to end, what lies from `start` to before `stop`."""
    found: list[Segment] = []
    for segment in segments:
        length = segment.stop - segment.start
        first, last = max(start, 0), min(stop, length)
        if first < last:
            found.append(segment._replace(start=segment.start + first, stop=segment.start + last))
        start, stop = start - length, stop - length
    return found
