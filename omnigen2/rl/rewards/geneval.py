"""GenEval: a caption's requests checked against what detectors find in the picture.

Source: Ghosh et al., arXiv:2310.11513, and the behaviour of its evaluation code: detections above a score of 0.3 (0.9
for counting), the best 16 of each class, no suppression of overlaps, relations with a slack of a tenth of both boxes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal, TypeAlias, assert_never

from jaxtyping import Bool
from torch import Tensor
from typing_extensions import override

from omnigen2.rl.reward import Judgement, Outcome, Picture, Reward, RewardRequest, Scores, unusable_picture
from omnigen2.rl.rewards.geneval_task import GenEvalTask, Relation, Wanted

THRESHOLD = 0.3
COUNTING_THRESHOLD = 0.9
"""Detections of a counting task need a higher score."""
MOST_OBJECTS = 16
"""Of one class."""
POSITION_SLACK = 0.1

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""
Grading: TypeAlias = Literal["graded", "strict"]
"""The share of clauses that are met, or 1 only if all are."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that was found.

    Attributes:
        name: Its class, by GenEval's name.
        box: Where.
        score: The detector's confidence, in [0, 1].
        mask: Its pixels, shape (height, width); None if only the box is known.
    """

    name: str
    box: Box
    score: float
    mask: Bool[Tensor, "height width"] | None = field(default=None, compare=False)


class Detector(ABC):
    """Finds objects in pictures."""

    @abstractmethod
    def detect(self, picture: Picture) -> list[Detection]:
        """All objects of a finite picture that score at least `THRESHOLD`, in any order; others may be left out."""


class ColourNamer(ABC):
    """Names the colour of objects."""

    @abstractmethod
    def name_colours(self, picture: Picture, objects: Sequence[Detection]) -> list[str]:
        """For each object that was found, all of one class, one of `geneval_task.COLOURS`."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that the picture must show, and whether it does."""

    text: str
    met: bool


class GenEvalReward(Reward):
    """Whether a picture shows what a GenEval prompt asks for; the request's `meta` is a line of the metadata file.

    The parts are `graded`, the share of clauses that are met, and `strict`, GenEval's own verdict: 1 if all are. The
    reason names what is missing.

    Args:
        detector: Finds the objects.
        colours: Names their colours; asked only where a prompt names one.
        grading: Which of the parts is the reward.
    """

    low, high = 0.0, 1.0
    description = "GenEval: requests of the prompt that are met, by detectors"
    part_names = ("graded", "strict")

    def __init__(self, detector: Detector, colours: ColourNamer, grading: Grading = "graded") -> None:
        self.detector = detector
        self.colours = colours
        self.grading: Grading = grading

    @override
    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        return Scores.collect([self._outcome(request) for request in requests], self.part_names)

    def _outcome(self, request: RewardRequest) -> Outcome:
        task = GenEvalTask.from_json(request.meta, request.key)
        problem = unusable_picture(request)
        if problem is not None:
            return problem
        clauses = check(task, self.detector.detect(request.image), request.image, self.colours)
        parts = {
            "graded": sum(clause.met for clause in clauses) / len(clauses),
            "strict": float(all(clause.met for clause in clauses)),
        }
        missing = ", ".join(clause.text for clause in clauses if not clause.met)
        match self.grading:
            case "graded" | "strict":
                return Judgement(parts[self.grading], parts, f"missing: {missing}" if missing else "")
            case _:
                assert_never(self.grading)


def check(
    task: GenEvalTask, detections: Sequence[Detection], picture: Picture, colours: ColourNamer
) -> tuple[Clause, ...]:
    """Compare what was found in a picture, in any order, with what was asked.

    For each wanted object there is a clause for its number, one for its colour and one for its position if they are
    asked for; then one for each limit. All are met exactly where GenEval says "correct". A limit on a class that is
    asked for counts as met only if some were found, so that a blank picture meets nothing.
    """
    found = _kept(detections, COUNTING_THRESHOLD if task.tag == "counting" else THRESHOLD)
    clauses: list[Clause] = []
    groups: list[Sequence[Detection]] = []
    for wanted in task.include:
        group = found.get(wanted.name, [])[: wanted.count]
        own = [Clause(f"{wanted.count} × {wanted.name}", len(group) == wanted.count)]
        if wanted.colour is not None:
            named = colours.name_colours(picture, group) if own[0].met else []
            own.append(Clause(f"{wanted.name} is {wanted.colour}", named.count(wanted.colour) >= wanted.count))
        if wanted.position is not None:
            own.append(_positioned(wanted, group, groups, all(clause.met for clause in own), task))
        groups.append(group if all(clause.met for clause in own) else [])
        clauses += own
    asked = {wanted.name for wanted in task.include}
    for limit in task.exclude:
        number = len(found.get(limit.name, []))
        met = number < limit.count and (number > 0 or limit.name not in asked)
        clauses.append(Clause(f"fewer than {limit.count} × {limit.name}", met))
    return tuple(clauses)


def relations(first: Box, second: Box) -> set[Relation]:
    """How the first box stands to the second: at most two relations.

    The distance of the centres is shortened along each axis by a tenth of both sides; what is left, as a share of the
    whole distance, must be above one half in a direction.
    """
    apart = [(first[i] + first[i + 2] - second[i] - second[i + 2]) / 2 for i in (0, 1)]
    sides = [abs(first[i + 2] - first[i]) + abs(second[i + 2] - second[i]) for i in (0, 1)]
    left = [math.copysign(max(abs(a) - POSITION_SLACK * side, 0.0), a) for a, side in zip(apart, sides, strict=True)]
    if all(abs(part) < 1e-3 for part in left):
        return set()
    across, down = (part / math.hypot(*apart) for part in left)
    held: dict[Relation, bool] = {
        "left of": across < -0.5,
        "right of": across > 0.5,
        "above": down < -0.5,
        "below": down > 0.5,
    }
    return {relation for relation, holds in held.items() if holds}


def _kept(detections: Sequence[Detection], threshold: float) -> dict[str, list[Detection]]:
    """The best detections of each class, best first."""
    kept: dict[str, list[Detection]] = {}
    for one in sorted(detections, key=lambda one: -one.score):
        if one.score > threshold and len(kept.setdefault(one.name, [])) < MOST_OBJECTS:
            kept[one.name].append(one)
    return kept


def _positioned(
    wanted: Wanted, group: Sequence[Detection], groups: Sequence[Sequence[Detection]], ok: bool, task: GenEvalTask
) -> Clause:
    """Every object of a group stands in the relation to every one of an earlier group that was found as asked."""
    assert wanted.position is not None  # noqa: S101  (the caller's case)
    relation, other = wanted.position
    pairs = list(product(group, groups[other]))
    met = ok and bool(pairs) and all(relation in relations(a.box, b.box) for a, b in pairs)
    return Clause(f"{wanted.name} {relation} {task.include[other].name}", met)
