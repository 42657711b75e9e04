"""Verdicts on pictures: is the caption true, was the edit done and nothing else, are the references' subjects there.

Everything is decided on what `read` finds in the pixels. Each function takes the picture, or a reading of it where
several questions are asked about one picture. A picture of noise is found to contain nothing, and scores 0 or close.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from typing import assert_never

from jaxtyping import Float
from torch import Tensor

from omnigen2.microworld.tasks.caption import Caption
from omnigen2.microworld.tasks.context import ContextTask
from omnigen2.microworld.tasks.edit import EditTask
from omnigen2.microworld.tasks.specification import (
    Beside,
    Clause,
    Include,
    Specification,
    Verdict,
    check,
    nothing_else,
    shows_background,
    stands,
)
from omnigen2.microworld.tasks.tasks import DrawingTask
from omnigen2.microworld.world import Item, Place, Reading, describe, read

NEAR = 0.08
"""An item has stayed if its centre has moved by less than this share of the side."""
SAME_RADIUS = 0.25
"""… and its radius by less than this share of itself."""

Picture = Float[Tensor, "3 size size"]


@dataclass(frozen=True, slots=True)
class JointVerdict:
    """Two things that were asked of a picture, both of which count."""

    @property
    def parts(self) -> Mapping[str, Verdict]:
        """The verdicts on each, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def exact(self) -> bool:
        """Whether all is as it should be."""
        return all(part.exact for part in self.parts.values())

    @property
    def graded(self) -> float:
        """The geometric mean of both shares of met clauses, in [0, 1], as OmniContext combines its two scores.

        A copy of the source of an edit scores 0.
        """
        return math.sqrt(prod(part.graded for part in self.parts.values()))

    @property
    def unmet(self) -> tuple[str, ...]:
        """What is missing, in words."""
        return tuple(text for part in self.parts.values() for text in part.unmet)


@dataclass(frozen=True, slots=True)
class EditVerdict(JointVerdict):
    """Whether an edit was done, and whether everything else stayed.

    Attributes:
        success: What the instruction asks for.
        preservation: Each item that must stay, the background unless it was to change, and no other items.
    """

    success: Verdict
    preservation: Verdict


@dataclass(frozen=True, slots=True)
class ContextVerdict(JointVerdict):
    """Whether the references' subjects are there, and whether the instruction was followed.

    Attributes:
        subjects: One clause per subject and attribute.
        following: Places or the relation, the background, and no other items.
    """

    subjects: Verdict
    following: Verdict


def verify(task: DrawingTask, picture: Picture | Reading) -> Verdict | JointVerdict:
    """Check a picture in [-1, 1], shape (3, size, size), or what was read from one, against a task of any family."""
    match task:
        case Caption():
            return verify_caption(task.specification, picture)
        case EditTask():
            return verify_edit(task, picture)
        case ContextTask():
            return verify_context(task, picture)
        case _:
            assert_never(task)


def verify_caption(specification: Specification, picture: Picture | Reading) -> Verdict:
    """Check a picture, or what was read from one, against a caption's specification; one clause per attribute."""
    return check(specification, _reading(picture))


def verify_edit(task: EditTask, picture: Picture | Reading) -> EditVerdict:
    """Check an edited picture against what was asked and what must stay.

    That something is gone counts only in a picture whose background is recognised.
    """
    reading = _reading(picture)
    success = [_arrived(item, reading) for item in task.added]
    success += [_gone(item, reading) for item in task.removed]
    if task.kind == "background":
        success.append(shows_background(task.target.background, reading))
    kept = [_stayed(item, reading) for item in task.kept]
    if task.kind != "background":
        kept.append(shows_background(task.source.background, reading))
    kept.append(nothing_else(len(task.target.items), reading))
    return EditVerdict(Verdict(tuple(success)), Verdict(tuple(kept)))


def verify_context(task: ContextTask, picture: Picture | Reading) -> ContextVerdict:
    """Check a picture against an in-context task, whose references tell what must be found."""
    reading = _reading(picture)
    subjects = task.subjects
    consistent = [clause for subject in subjects for clause in subject.clauses(reading.items)]
    following: list[Clause] = []
    if task.relation is not None:
        following.append(_related(Beside(0, task.relation, 1), task, reading))
    if task.place is not None:
        following.append(_placed(task.place, reading))
    following.append(shows_background(task.target.background, reading))
    following.append(nothing_else(len(subjects), reading))
    return ContextVerdict(Verdict(tuple(consistent)), Verdict(tuple(following)))


def _reading(picture: Picture | Reading) -> Reading:
    return read(picture) if isinstance(picture, Tensor) else picture


def _kind(item: Item) -> str:
    return describe(item.shape, item.colour, item.texture, item.size, "the")


def _arrived(wanted: Item, reading: Reading) -> Clause:
    """Same kind, in the right quarter; the size is free, as no instruction names it."""
    like = Include(wanted.shape, 1, wanted.colour, wanted.texture).matches(reading.items)
    met = any(item.place == wanted.place for item in like)
    return Clause(f"{_kind(wanted)} is in the {wanted.place}", met)


def _gone(old: Item, reading: Reading) -> Clause:
    """Nothing of its kind is where it was."""
    met = reading.background is not None and not any(
        _same_spot(old, item) and _same_kind(old, item) for item in reading.items
    )
    return Clause(f"{_kind(old)} is no longer there", met)


def _stayed(old: Item, reading: Reading) -> Clause:
    met = any(
        _same_spot(old, item) and _same_kind(old, item) and abs(item.radius / old.radius - 1) < SAME_RADIUS
        for item in reading.items
    )
    return Clause(f"{_kind(old)} has stayed", met)


def _same_spot(old: Item, item: Item) -> bool:
    return math.hypot(old.row - item.row, old.column - item.column) < NEAR


def _same_kind(old: Item, item: Item) -> bool:
    return (old.shape, old.colour, old.texture) == (item.shape, item.colour, item.texture)


def _related(pair: Beside, task: ContextTask, reading: Reading) -> Clause:
    """Subjects stand in the relation; what they look like is asked elsewhere, so a shape and colour are enough."""
    first, second = (task.subjects[i].matches(reading.items) for i in (pair.first, pair.second))
    met = any(stands(a, pair.relation, b) for a in first for b in second)
    return Clause(f"the first subject is {pair.relation} the second", met)


def _placed(place: Place, reading: Reading) -> Clause:
    return Clause(f"something is in the {place}", any(item.place == place for item in reading.items))
