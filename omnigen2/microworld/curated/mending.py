"""What is wrong with a picture, and single edits that one after another make of it what its caption asks for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from omnigen2.microworld.tasks import Beside, Include, Specification, stands
from omnigen2.microworld.world import (
    NUMBERS,
    QUARTERS,
    TEMPLATES,
    Background,
    Item,
    Place,
    Reading,
    describe,
    describe_background,
)

RADIUS = {"small": 0.14, "large": 0.195}


@dataclass(frozen=True, slots=True)
class Mend:
    """One thing that is wrong, and an edit in the words of the world that mends it.

    Attributes:
        items: What is in the picture once it is done.
        background: Likewise; None if it is none of the world's.
    """

    problem: str
    change: str
    items: tuple[Item, ...]
    background: Background | None


def mends(specification: Specification, reading: Reading) -> tuple[Mend, ...]:
    """Edits after which everything that was asked for is there, and nothing else; none if it is so already."""
    return tuple(_Mending(specification, reading).steps())


class _Mending:
    """A picture on its way to what it should be.

    `slots` has for each item that is wanted the one that stands for it, if there is one; `others` has all others.
    """

    def __init__(self, specification: Specification, reading: Reading) -> None:
        self.asked, self.seen, self.unknown = specification, reading.items, reading.unknown
        self.wanted = [include for include in specification.include for _ in range(include.count)]
        self.slots: list[Item | None] = [None] * len(self.wanted)
        self.others = list(reading.items)
        self.background = reading.background
        pairs = product(range(len(self.wanted)), reading.items)
        for cost, slot, item in sorted(((_cost(self.wanted[s], i), s, i) for s, i in pairs), key=lambda one: one[:2]):
            if self.slots[slot] is None and item in self.others and (cost == 0 or specification.alone):
                self.slots[slot] = item
                self.others.remove(item)

    def steps(self) -> Iterator[Mend]:
        """What is to be done, in order; what is too much first."""
        if self.asked.alone:
            yield from self._removals()
        for slot, include in enumerate(self.wanted):
            item = self.slots[slot]
            if item is not None and _cost(include, item):
                yield self._changed(slot, include, item)
        for pair in self.asked.beside:
            yield from self._related(pair)
        for slot, include in enumerate(self.wanted):
            if self.slots[slot] is None:
                yield self._put(slot, _at(include, self._free()[0]), self._lacking(include))
        if self.asked.background not in (None, self.background):
            self.background = self.asked.background
            words = describe_background(self.background)
            change = TEMPLATES["background"][0].format(background=words)
            yield self._done(f"there is no {words.removeprefix('a ')}", change)

    def _removals(self) -> Iterator[Mend]:
        if self.unknown:
            yield self._done("there is a thing", TEMPLATES["remove"][0].format(object="the thing"))
        for item in tuple(self.others):
            change = TEMPLATES["remove"][0].format(object=self._called(item))
            self.others.remove(item)
            like = Include(item.shape, 1, item.colour, item.texture)
            yield self._done(f"there {_number(like, len(like.matches(self.seen)))}", change)

    def _changed(self, slot: int, include: Include, item: Item) -> Mend:
        """Another colour if that is all, otherwise another item in its place."""
        new, called = _like(include, item), self._called(item)
        self.slots[slot] = new
        if replace(new, colour=item.colour) == item:
            change = TEMPLATES["recolour"][0].format(object=called, colour=new.colour)
        else:
            size = new.size if new.size != item.size else None
            other = describe(new.shape, new.colour, new.texture, size)
            change = TEMPLATES["replace"][0].format(object=called, other=other)
        return self._done(self._lacking(include), change)

    def _related(self, pair: Beside) -> Iterator[Mend]:
        """Move or add as few of two items as possible, so that the first stands in a relation to the second."""
        both = (pair.first, pair.second)
        slots = [sum(include.count for include in self.asked.include[:number]) for number in both]
        here = [self.slots[slot] for slot in slots]
        if here[0] and here[1] and stands(here[0], pair.relation, here[1]):
            return
        first, second = next(
            (first, second)
            for places in (self._free(), list(QUARTERS))
            for first, second in self._places(slots, here, places)
            if first.place != second.place and stands(first, pair.relation, second)
        )
        one, other = (self.asked.include[number] for number in both)
        relation = f"there is no {_told(one)} {pair.relation} {_told(other, 'a')}"
        for slot, old, new in zip(slots, here, (first, second), strict=True):
            if new is not old:
                yield self._put(slot, new, relation if old else self._lacking(self.wanted[slot]))

    def _places(
        self, slots: Sequence[int], here: Sequence[Item | None], places: Sequence[Place]
    ) -> list[tuple[Item, Item]]:
        """Where two items can be, the least changes first."""
        first, second = (
            [*filter(None, (item,)), *(_at(self.wanted[slot], place, item) for place in places)]
            for slot, item in zip(slots, here, strict=True)
        )
        return sorted(product(first, second), key=lambda two: (two[0] is not here[0]) + (two[1] is not here[1]))

    def _put(self, slot: int, new: Item, problem: str) -> Mend:
        """Move an item to its place, or add it there."""
        old = self.slots[slot]
        if old is None:
            change = TEMPLATES["add"][0].format(object=_named(new, "a"), place=new.place)
        else:
            change = TEMPLATES["move"][0].format(object=self._called(old), place=new.place)
        self.slots[slot] = new
        return self._done(problem, change)

    def _done(self, problem: str, change: str) -> Mend:
        return Mend(problem, change, self._items(), self.background)

    def _items(self) -> tuple[Item, ...]:
        return (*(item for item in self.slots if item is not None), *self.others)

    def _free(self) -> list[Place]:
        """Quarters with nothing in them; all of them if there are none."""
        taken = {item.place for item in self._items()}
        return [place for place in QUARTERS if place not in taken] or list(QUARTERS)

    def _called(self, item: Item) -> str:
        """An item as an edit names it."""
        same = [one for one in self._items() if _kind(one) == _kind(item)]
        return _named(item, "the" if len(same) == 1 else "a")

    def _lacking(self, include: Include) -> str:
        """That there are too few of a kind in the picture as it was."""
        return f"there {_number(include, len(include.matches(self.seen)))}"


def _cost(include: Include, item: Item) -> int:
    """How much an item differs from what is wanted: not at all, in its colour alone, or more."""
    if include.matches([item]):
        return 0
    return 1 if replace(include, colour=None).matches([item]) else 2


def _like(include: Include, item: Item) -> Item:
    """An item as it should be, where another is."""
    texture = include.texture or (item.texture if include.shape == item.shape else "plain")
    fits = include.size in (None, item.size)
    radius = item.radius if fits else RADIUS[include.size or item.size]
    return Item(include.shape, include.colour or item.colour, texture, item.row, item.column, radius)


def _at(include: Include, place: Place, item: Item | None = None) -> Item:
    """An item in the middle of a quarter; by default a new one."""
    top, left, bottom, right = QUARTERS[place]
    row, column = (top + bottom) / 2, (left + right) / 2
    if item is not None:
        return replace(item, row=row, column=column)
    size = RADIUS[include.size or "large"]
    return Item(include.shape, include.colour or "black", include.texture or "plain", row, column, size)


def _kind(item: Item) -> tuple[str, str, str]:
    return item.shape, item.colour, item.texture


def _named(item: Item, first: str) -> str:
    return describe(item.shape, item.colour, item.texture, first=first)


def _told(include: Include, first: str = "") -> str:
    return describe(include.shape, include.colour, include.texture, include.size, first)


def _number(include: Include, count: int) -> str:
    """How many there are: "is no red square", "is one red square", "are three red squares"."""
    if count < 2:
        return f"is {_told(include, ('one' if include.count > 1 else 'a') if count else 'no')}"
    return f"are {_told(include, NUMBERS[count]) if count < len(NUMBERS) else 'many'}"
