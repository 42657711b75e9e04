"""All families of tasks before and after a training, whether they were trained or not: no gain is told alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import variance
from typing import Any

from omnigen2.files import markdown_table
from omnigen2.microworld.runs.scores import EXACT, LETTERS, TEXTURE

Scores = Mapping[str, Any]
"""The content of a `scores.json`."""
FELL = "▼"
"""Marks what became worse."""


@dataclass(frozen=True, slots=True)
class FamilyScore:
    """One number that says how good a model is at a family of tasks.

    Attributes:
        metric: Its name, and the column of its overall line.
        trained: What a training asks for that teaches it, as `scores.json` names it under `trained`; None for what
            nothing teaches.
        better: 1 if more is better, -1 if less is.
    """

    title: str
    metric: tuple[str, str]
    trained: str | None
    better: int = 1

    @property
    def number(self) -> str:
        """What `scores.json` calls it."""
        return f"{self.metric[0]}/overall/{self.metric[1]}"

    def of(self, scores: Scores | None) -> float | None:
        """The number, if it was measured."""
        return None if scores is None else scores.get("model", {}).get(self.number)


FAMILY_SCORES = (
    FamilyScore("captions", EXACT["text_to_image"], "text_to_image"),
    FamilyScore("edits", EXACT["edit"], "edit"),
    FamilyScore("in-context", EXACT["in_context"], "in_context"),
    FamilyScore("letters", LETTERS, "letters"),
    FamilyScore("texture", TEXTURE, None, better=-1),
)
"""What every report shows, in its order."""
LEGEND = (
    "Shares of held-out pictures without a fault, and the texture: how far plain backgrounds are from their flat "
    f"colour, 0 to 2, less is better. {FELL} marks what became worse; ± is the standard error over held-out tasks."
)


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a family.

    Attributes:
        before: None if it was not measured.
        after: The same.
        error: Standard error of the change over tasks, if verdicts of the same tasks are there.
        trained: None if nobody wrote down what was trained.
    """

    score: FamilyScore
    before: float | None
    after: float | None
    error: float | None
    trained: bool | None

    @property
    def change(self) -> float | None:
        """After less before, if both were measured."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def worse(self) -> bool:
        """Whether it became worse."""
        return self.change is not None and self.change * self.score.better < 0

    @property
    def mark(self) -> str:
        """Empty, or that it became worse, and whether it was trained."""
        if not self.worse:
            return ""
        word = "fell" if self.score.better > 0 else "rose"
        return f"{FELL} {word}" + {True: " though trained", False: ", not trained", None: ""}[self.trained]

    def __str__(self) -> str:
        """`0.925 → 0.750`, and the mark."""
        return f"{told(self.before)} → {told(self.after)} {self.mark}".strip()


def changes(before: Scores | None, after: Scores | None, trained: Sequence[str] | None = None) -> list[Change]:
    """All families, measured or not.

    Args:
        before: The content of a `scores.json`; None if there is none.
        after: The same.
        trained: What was asked for in training; by default what `after` says.
    """
    names = (after or {}).get("trained") if trained is None else trained
    return [
        Change(
            score,
            score.of(before),
            score.of(after),
            _error(before, after, score),
            None if names is None else score.trained in names,
        )
        for score in FAMILY_SCORES
    ]


def families_table(found: Sequence[Change]) -> str:
    """Markdown: a line for each family."""
    words = {True: "yes", False: "no", None: "–"}
    lines = [
        [one.score.title, words[one.trained], told(one.before), told(one.after), _change(one), one.mark]
        for one in found
    ]
    return markdown_table(["family", "trained", "before", "after", "change", ""], lines)


def told(value: float | None) -> str:
    """A share in three digits after the point; a dash for what was not measured."""
    return "–" if value is None else f"{value:.3f}"


def _change(one: Change) -> str:
    if one.change is None:
        return "–"
    return f"{one.change:+.3f}" + ("" if one.error is None else f" ± {one.error:.3f}")


def _error(before: Scores | None, after: Scores | None, score: FamilyScore) -> float | None:
    """Of the mean difference between the verdicts on the same tasks."""
    first, second = ((scores or {}).get("exact", {}).get(score.metric[0], []) for scores in (before, after))
    if len(first) != len(second) or len(first) < 2:
        return None
    return math.sqrt(variance([b - a for a, b in zip(first, second, strict=True)]) / len(first))
