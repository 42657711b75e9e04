"""What a picture must show, after GenEval: clauses that are checked against what was read from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from omnigen2.microworld.world import (
    NUMBERS,
    Background,
    Colour,
    Item,
    Reading,
    Relation,
    Shape,
    Size,
    Texture,
    describe,
    describe_background,
)

Tag: TypeAlias = Literal["single_object", "two_object", "counting", "colors", "position", "color_attr"]
TAGS: tuple[Tag, ...] = get_args(Tag)
Family: TypeAlias = Literal["text_to_image", "edit", "in_context"]
"""Of drawing tasks, as training samples call them. A task of each has its `family`, the `group` that its scores are
averaged with, its `instruction`, the `references` that are given with it, and the `target` that it asks for."""
FAMILIES: tuple[Family, ...] = get_args(Family)

RELATION_SLACK = 0.1
"""Items are beside one another if their centres are further apart than this share of their boxes' widths."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that a picture must show."""

    text: str
    met: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that was asked of a picture, in the order of the request; an empty verdict asks nothing."""

    clauses: tuple[Clause, ...]

    @property
    def exact(self) -> bool:
        """Whether every clause is met."""
        return all(clause.met for clause in self.clauses)

    @property
    def graded(self) -> float:
        """The share of clauses that are met, in [0, 1]; 1 if nothing was asked."""
        return sum(clause.met for clause in self.clauses) / len(self.clauses) if self.clauses else 1.0

    @property
    def unmet(self) -> tuple[str, ...]:
        """What is missing, in words."""
        return tuple(clause.text for clause in self.clauses if not clause.met)


@dataclass(frozen=True, slots=True)
class Include:
    """Items that must be there: at least `count` of a shape, 1 to 4, with the other attributes where they matter.

    Raises:
        ValueError: If the count is out of range.
    """

    shape: Shape
    count: int = 1
    colour: Colour | None = None
    texture: Texture | None = None
    size: Size | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.count < len(NUMBERS):
            raise ValueError(f"Include needs a count of 1 to {len(NUMBERS) - 1}, got {self.count}; scenes hold no more")

    @classmethod
    def like(cls, item: Item) -> "Include":
        """Ask for one item with all of another's attributes but its place."""
        return cls(item.shape, 1, item.colour, item.texture, item.size)

    def stages(self, items: Sequence[Item]) -> list[tuple[str, tuple[Item, ...]]]:
        """The items that fulfil more and more of the request, and what that is in words; the last fulfil all of it."""
        left, found = tuple(items), list[tuple[str, tuple[Item, ...]]]()
        for name in ("shape", "colour", "texture", "size"):
            wanted: str | None = getattr(self, name)
            if wanted is not None:
                left = tuple(item for item in left if getattr(item, name) == wanted)
                found.append((wanted, left))
        return found

    def clauses(self, items: Sequence[Item]) -> list[Clause]:
        """One clause for the shape, and one for each further attribute, which says what must be there up to it."""
        names = [name for name in ("shape", "colour", "texture", "size") if getattr(self, name) is not None]
        stages = enumerate(self.stages(items), start=1)
        return [Clause(self._told(names[:number]), len(left) >= self.count) for number, (_, left) in stages]

    def _told(self, names: Sequence[str]) -> str:
        """The request in words, with some of its attributes."""
        asked: dict[str, Any] = {name: getattr(self, name) for name in names}
        plain = " without a pattern" if asked.get("texture") == "plain" else ""
        return describe(**asked, first=NUMBERS[self.count]) + plain

    def matches(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """The items that fulfil all of the request."""
        return self.stages(items)[-1][1]


@dataclass(frozen=True, slots=True)
class Beside:
    """The first of two included things stands in a relation to the second; both are numbers of includes, from 0."""

    first: int
    relation: Relation
    second: int


@dataclass(frozen=True, slots=True)
class Specification:
    """What a picture must show, and that it shows nothing else.

    Attributes:
        tag: GenEval's kind of request.
        alone: Whether there must be no other items.

    Raises:
        ValueError: If nothing is included, or a relation is about something that is not.
    """

    tag: Tag
    include: tuple[Include, ...]
    beside: tuple[Beside, ...] = ()
    background: Background | None = None
    alone: bool = True

    def __post_init__(self) -> None:
        if not self.include:
            raise ValueError("Specification must include something, got nothing; add an Include")
        if any(not 0 <= i < len(self.include) for pair in self.beside for i in (pair.first, pair.second)):
            raise ValueError(
                f"Specification relates includes that are not there: {self.beside} with {len(self.include)} includes; "
                "count them from 0"
            )

    @property
    def count(self) -> int:
        """How many items are asked for."""
        return sum(include.count for include in self.include)


def check(specification: Specification, reading: Reading) -> Verdict:
    """Compare what was read with what was asked.

    Args:
        reading: What was read, or `Reading.of(scene)`.

    Returns:
        A clause for each attribute, relation, the background and, last, the absence of anything else. Absence counts
        only where something was found, so a blank picture meets no clause about items.
    """
    items = reading.items
    clauses = [clause for include in specification.include for clause in include.clauses(items)]
    for pair in specification.beside:
        first, second = specification.include[pair.first], specification.include[pair.second]
        met = any(stands(a, pair.relation, b) for a in first.matches(items) for b in second.matches(items))
        clauses.append(Clause(f"{first.shape} {pair.relation} {second.shape}", met))
    if specification.background is not None:
        clauses.append(shows_background(specification.background, reading))
    if specification.alone:
        clauses.append(nothing_else(specification.count, reading))
    return Verdict(tuple(clauses))


def stands(first: Item, relation: Relation, second: Item) -> bool:
    """Whether one item stands in a relation to another, by GenEval's rule.

    The distance of the centres is shortened by a tenth of both boxes along each axis; then the direction must be
    within 60 degrees of the one that is named.
    """
    slack = RELATION_SLACK * 2 * (first.radius + second.radius)
    across, down = (
        math.copysign(max(abs(gap) - slack, 0), gap) for gap in (first.column - second.column, first.row - second.row)
    )
    length = math.hypot(across, down)
    if length == 0:
        return False
    along: dict[Relation, float] = {"left of": -across, "right of": across, "above": -down, "below": down}
    return along[relation] / length > 0.5


def shows_background(background: Background, reading: Reading) -> Clause:
    """The clause that a background was read."""
    return Clause(describe_background(background), reading.background == background)


def nothing_else(count: int, reading: Reading) -> Clause:
    """The clause that there are as many items as were asked for, at least 1, and nothing unknown."""
    return Clause("nothing else", 0 < len(reading.seen) <= count and reading.unknown == 0)
