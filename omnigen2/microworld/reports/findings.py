"""Which of the paper's findings on reinforcement learning the numbers of an ablation show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

SUMMED = ("GenEval", "edit exact", "in-context exact")
"""The columns whose mean says how good a row is."""
CLEAR = 2.0
"""A difference counts if it is larger than so many standard errors."""


@dataclass(frozen=True)
class Difference:
    """How much two rows differ in a column, seed by seed.

    Attributes:
        mean: Of the differences between equal seeds.
        error: Its standard error, of seeds and tasks together; NaN with one seed.
    """

    mean: float
    error: float

    @property
    def clear(self) -> bool:
        """Whether it is larger than its error lets expect."""
        return abs(self.mean) > CLEAR * self.error

    def __str__(self) -> str:
        error = "" if math.isnan(self.error) else f" ± {self.error:.3f}"
        return f"{self.mean:+.3f}{error}"


@dataclass(frozen=True)
class Finding:
    """One of the paper's findings, and whether it is seen here.

    Attributes:
        claim: What the paper says.
        appears: None if the numbers decide nothing.
        numbers: What it was concluded from.
    """

    claim: str
    appears: bool | None
    numbers: str

    def __str__(self) -> str:
        verdict = {True: "appears", False: "does not appear", None: "undecided"}[self.appears]
        return f"- {self.claim}: **{verdict}**. {self.numbers}"


def findings(
    scores: Mapping[str, Sequence[Mapping[str, float]]],
    curves: Mapping[str, Sequence[Sequence[float]]],
    exact: Mapping[str, Sequence[Mapping[str, Sequence[int]]]],
) -> list[Finding]:
    """Which of the paper's findings appear, of those whose rows are there.

    The error of a difference has two parts: how much it differs between seeds, and, since all rows are judged on the
    same held-out tasks, how much its mean over the seeds differs between these. What is left to chance in single
    pictures counts in both, so that the error is too large rather than too small. Two seeds alone would call chance a
    finding.

    Args:
        scores: By row, one mapping from columns for each seed.
        curves: By row, the mean reward of each iteration of its last stage, for each seed.
        exact: By row and seed, whether each held-out task was done without a fault (1 or 0), by column of `SUMMED`;
            tasks have the same order everywhere.

    Returns:
        One for each.
    """

    def between(first: str, second: str, column: str) -> Difference:
        columns = SUMMED if column == "mean" else (column,)
        pairs = zip(scores[first], scores[second], strict=True)
        differences = [fmean(a[title] - b[title] for title in columns) for a, b in pairs]
        tasks = sum(_variance_of_tasks(exact[first], exact[second], title) for title in columns) / len(columns) ** 2
        return _difference(differences, tasks)

    found: list[Finding] = []
    if {"edit", "geneval", "edit_geneval"} <= scores.keys():
        edit, geneval = between("edit_geneval", "edit", "edit exact"), between("edit_geneval", "geneval", "GenEval")
        numbers = f"Both against one alone: edit {edit}, GenEval {geneval}."
        found.append(Finding("Edit and GenEval help each other", _better(edit, geneval), numbers))
    pairs = [pair for pair in (("ocr", "base"), ("edit_ocr", "edit")) if set(pair) <= scores.keys()]
    if pairs:
        found.append(_no_help({f"{a} − {b}": between(a, b, "mean") for a, b in pairs}))
    if {"edit", "edit_preference"} <= scores.keys():
        found.append(_hacking(between("edit_preference", "edit", "mean"), curves["edit_preference"]))
    if {"edit", "incontext"} <= scores.keys():
        claim = "Edit alone does more for in-context tasks than their own reward"
        change = between("edit", "incontext", "in-context exact")
        found.append(Finding(claim, _better(change), f"In-context tasks without a fault: {change}."))
    own, orders = "edit_geneval_incontext", ("geneval_edit_incontext", "edit_incontext_geneval")
    if {own, *orders} <= scores.keys():
        claim = "The order of the stages matters: Edit, GenEval, in-context is better than the others"
        changes = [between(own, order, "mean") for order in orders]
        listed = ", − ".join(f"{order} {change}" for order, change in zip(orders, changes, strict=True))
        found.append(Finding(claim, _better(*changes), f"Mean of the three tasks, {own} − {listed}."))
    return found


def _better(*differences: Difference) -> bool | None:
    """Whether all differences are clearly above 0; no if one is clearly below; nothing if neither is clear."""
    if any(one.mean < 0 and one.clear for one in differences):
        return False
    return True if all(one.mean > 0 and one.clear for one in differences) else None


def _no_help(changes: Mapping[str, Difference]) -> Finding:
    """Whether the letters' reward clearly hurts somewhere and helps nowhere."""
    listed = ", ".join(f"{rows} {change}" for rows, change in changes.items())
    hurts = any(_better(one) is False for one in changes.values()) and all(one.mean <= 0 for one in changes.values())
    helps = any(_better(one) for one in changes.values())
    return Finding(
        "The letters' reward does not help the other tasks",
        False if helps else True if hurts else None,
        f"Mean of the three tasks: {listed}.",
    )


def _hacking(consistency: Difference, curves: Sequence[Sequence[float]]) -> Finding:
    """Whether the preference score rose in training while the honest ones fell."""
    rises: list[float] = []
    for curve in curves:
        part = max(1, len(curve) // 4)
        rises.append(fmean(curve[-part:]) - fmean(curve[:part]))
    rise = _difference(rises)
    return Finding(
        "The preference score is hacked: its reward rises while the honest scores fall",
        _better(rise, Difference(-consistency.mean, consistency.error)),
        f"Reward from the first to the last quarter of training {rise}; mean of the three tasks against Edit alone "
        f"{consistency}.",
    )


def _variance_of_tasks(
    first: Sequence[Mapping[str, Sequence[int]]], second: Sequence[Mapping[str, Sequence[int]]], title: str
) -> float:
    """Squared standard error of the difference between two rows in one column, over tasks; seeds are averaged."""
    pairs = zip(first, second, strict=True)
    by_seed = [[a - b for a, b in zip(one[title], other[title], strict=True)] for one, other in pairs]
    differences = [fmean(seeds) for seeds in zip(*by_seed, strict=True)]
    return variance(differences) / len(differences) if len(differences) > 1 else math.inf


def _difference(values: Sequence[float], shared: float = 0.0) -> Difference:
    """Of values for each seed, and a squared error that all seeds share."""
    error = math.sqrt(stdev(values) ** 2 / len(values) + shared) if len(values) > 1 else math.nan
    return Difference(fmean(values), error)
