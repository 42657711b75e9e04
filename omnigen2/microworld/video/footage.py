"""What a drawn video is: moments, each with its time, its scene, who is who in it, and how the camera looks at it."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias, assert_never

from omnigen2.errors import UserError, check_choice
from omnigen2.microworld.world import EASY, Item, Scene, Vocabulary, full_vocabulary

ChangeKind: TypeAlias = Literal["moved", "recoloured", "appeared", "vanished"]
VocabularyName: TypeAlias = Literal["full", "easy"]
"""All that can be read back at a size, or what a small model learns first."""


@dataclass(frozen=True, slots=True)
class Camera:
    """What is seen, in the world's own units: a square of this side around a centre; by default the whole scene."""

    row: float = 0.5
    column: float = 0.5
    side: float = 1.0

    def shift(self, other: "Camera") -> float:
        """How far the corners of the view are from those of another, at most, as a share of its own side.

        About half of a zoom's factor, or all of a pan.
        """
        apart = (abs(self.row - other.row), abs(self.column - other.column))
        return (max(apart) + abs(self.side - other.side) / 2) / self.side


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame, before it is drawn.

    Attributes:
        time: When it is shown, in seconds from the start.
        shot: Which shot it belongs to, from 0; a fade changes it where it is black.
        actors: A number for each item of the scene, which it keeps for the whole shot.
        light: What brightness is multiplied by: 0 is black, 1 as drawn, above 1 over-exposed.
    """

    time: float
    shot: int
    scene: Scene
    actors: tuple[int, ...]
    camera: Camera
    light: float = 1.0

    @property
    def cast(self) -> dict[int, Item]:
        """The items, by their numbers."""
        return dict(zip(self.actors, self.scene.items, strict=True))


@dataclass(frozen=True, slots=True)
class Cut:
    """Where one shot becomes the next, in seconds: a moment, or from the first to the last frame of a fade."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one actor between two moments; `before` is None if it appeared, `after` if it vanished."""

    kind: ChangeKind
    actor: int
    before: Item | None
    after: Item | None


def vocabulary_named(name: VocabularyName, size: int) -> Vocabulary:
    """The vocabulary of pictures with a side of so many pixels."""
    match name:
        case "easy":
            return EASY
        case "full":
            return full_vocabulary(16 if size < 32 else 64)
        case _:
            assert_never(name)


@dataclass(frozen=True)
class Footage:
    """How videos are drawn.

    Attributes:
        size: Side of a frame in pixels.
        rate: Frames in a second; times are its multiples.
        uneven: Whether a frame is shown for one, two or three of them, by lot.
        shots: The least and the most shots of a video.
        seconds: The shortest and the longest shot.
        changes: The most changes in a shot: an object moves, changes colour, appears or vanishes.
        moving: The share of shots in which the camera pans or zooms.
        fades: The share of cuts that are fades to black and back.
        flicker: How far the brightness of each frame strays, as a share.
        flashes: The share of shots that have a flash of one to three over-exposed frames.
        ground: How strong the uneven colouring of the world's ground is, by which a camera's movement shows; 0 is
            flat, and above 0.3 frames are no longer read back exactly.
        vocabulary: What scenes are made of.

    Raises:
        UserError: If a number is out of range.
    """

    size: int = 64
    rate: int = 25
    uneven: bool = False
    shots: tuple[int, int] = (1, 4)
    seconds: tuple[float, float] = (1.2, 3.0)
    changes: int = 3
    moving: float = 0.4
    fades: float = 0.25
    flicker: float = 0.0
    flashes: float = 0.0
    ground: float = 0.2
    vocabulary: VocabularyName = "full"

    def __post_init__(self) -> None:
        if self.size < 16 or not 5 <= self.rate <= 240 or self.changes < 0:
            raise UserError(
                f"Footage has size {self.size}, rate {self.rate}, changes {self.changes}",
                "give a size of at least 16 pixels, a rate of 5 to 240 frames a second, and no fewer than 0 changes",
            )
        if not 1 <= self.shots[0] <= self.shots[1] or not 0.8 <= self.seconds[0] <= self.seconds[1]:
            raise UserError(
                f"Footage has shots {self.shots} of {self.seconds} seconds",
                "give the least and the most: at least one shot, of at least 0.8 seconds",
            )
        for name in ("moving", "fades", "flicker", "flashes", "ground"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"Footage has {name} {getattr(self, name)}", "give a number from 0 to 1")
        check_choice("vocabulary of Footage", self.vocabulary, VocabularyName)


@dataclass(frozen=True)
class DrawnVideo:
    """A video with its whole truth.

    Attributes:
        seed: Draws it again, with its footage.
        moments: In the order of their times.
        end: When the last frame ends, in seconds.
    """

    seed: int
    footage: Footage
    moments: tuple[Moment, ...]
    cuts: tuple[Cut, ...]
    end: float

    def at(self, time: float) -> Moment:
        """What is shown at a time: the last moment that is not later, or the first."""
        shown = [moment for moment in self.moments if moment.time <= time + 1e-6]
        return shown[-1] if shown else self.moments[0]

    @property
    def scenes(self) -> tuple[tuple[float, float], ...]:
        """Where each shot starts and ends, in seconds, without the fades between them."""
        borders = [0.0, *(time for cut in self.cuts for time in (cut.start, cut.end)), self.end]
        return tuple((start, end) for start, end in list(pairwise(borders))[::2])


def changes(first: Moment, second: Moment) -> tuple[Change, ...]:
    """What happened to the actors of a shot between two of its moments.

    Raises:
        UserError: If the moments belong to different shots: actors have numbers of their own in each.
    """
    if first.shot != second.shot:
        raise UserError(f"shots {first.shot} and {second.shot} have different actors", "compare moments of one shot")
    before, after = first.cast, second.cast
    found: list[Change] = []
    for actor in sorted({*before, *after}):
        old, new = before.get(actor), after.get(actor)
        if old is None or new is None:
            found.append(Change("appeared" if old is None else "vanished", actor, old, new))
            continue
        if (old.row, old.column) != (new.row, new.column):
            found.append(Change("moved", actor, old, new))
        if old.colour != new.colour:
            found.append(Change("recoloured", actor, old, new))
    return tuple(found)
