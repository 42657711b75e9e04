"""Which of the paper's findings on reinforcement learning the numbers of an ablation show: a table with a sign each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

from omnigen2.files import markdown_table

SUMMED = ("GenEval", "edit exact", "in-context exact")
"""The columns whose mean says how good a row is."""
MEAN = "mean"
CLEAR = 2.0
"""A difference counts if it is larger than so many standard errors."""
SIGNS = {True: "+ appears", False: "− does not appear", None: "undecided"}


@dataclass(frozen=True)
class Claim:
    """What the paper says, as differences that are above 0 if it is so.

    Attributes:
        pairs: A row, another, and the column in which the first is better: one of `SUMMED`, or `MEAN` of them.
        rises: A row whose own reward must rise too, from the first to the last quarter of its training.
        one_is_enough: Whether one clear difference shows it if no other goes the wrong way; and whether it is looked
            for in the pairs that are there. Otherwise all pairs must be there, and clear.
    """

    text: str
    pairs: tuple[tuple[str, str, str], ...]
    rises: str | None = None
    one_is_enough: bool = False


CLAIMS = (
    Claim(
        "Edit and GenEval help each other",
        (("edit_geneval", "edit", "edit exact"), ("edit_geneval", "geneval", "GenEval")),
    ),
    Claim(
        "The letters' reward does not help the other tasks",
        (("base", "ocr", MEAN), ("edit", "edit_ocr", MEAN)),
        one_is_enough=True,
    ),
    Claim(
        "The preference score is hacked: its reward rises while the honest scores fall",
        (("edit", "edit_preference", MEAN),),
        rises="edit_preference",
    ),
    Claim(
        "Edit alone does more for in-context tasks than their own reward", (("edit", "incontext", "in-context exact"),)
    ),
    Claim(
        "The order of the stages matters: Edit, GenEval, in-context is better than the others",
        tuple(
            ("edit_geneval_incontext", other, MEAN) for other in ("geneval_edit_incontext", "edit_incontext_geneval")
        ),
    ),
)


@dataclass(frozen=True)
class Difference:
    """The mean difference of two rows between equal seeds, and its standard error; None with one seed or task."""

    mean: float
    error: float | None

    @property
    def sign(self) -> int:
        """1 or -1 if it is larger than its error lets expect, 0 otherwise."""
        clear = self.error is not None and abs(self.mean) > CLEAR * self.error
        return int(math.copysign(clear, self.mean))

    def __str__(self) -> str:
        return f"{self.mean:+.3f}" + ("" if self.error is None else f" ± {self.error:.3f}")


@dataclass(frozen=True)
class Finding:
    """One of the paper's findings, what it was concluded from, and whether it appears; None if that decides nothing.

    Attributes:
        others: The same rows in each column by itself that the conclusion does not look at: what the finding cost.
    """

    claim: str
    appears: bool | None
    differences: Mapping[str, Difference]
    others: Mapping[str, Difference]


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
        curves: By row, the mean reward of each iteration of its last stage, for each seed.
        exact: By row and seed, whether each held-out task was done without a fault (1 or 0), by column of `SUMMED`;
            tasks have the same order everywhere.
    """

    def between(first: str, second: str, column: str) -> Difference:
        columns = SUMMED if column == MEAN else (column,)
        pairs = zip(scores[first], scores[second], strict=True)
        differences = [fmean(a[title] - b[title] for title in columns) for a, b in pairs]
        tasks = sum(_variance_of_tasks(exact[first], exact[second], title) for title in columns) / len(columns) ** 2
        return _difference(differences, tasks)

    found: list[Finding] = []
    for claim in CLAIMS:
        pairs = [pair for pair in claim.pairs if {*pair[:2]} <= scores.keys()]
        if not pairs or (len(pairs) < len(claim.pairs) and not claim.one_is_enough):
            continue
        differences = {f"{a} − {b}, {column}": between(a, b, column) for a, b, column in pairs}
        if claim.rises is not None:
            differences[f"reward of {claim.rises}, last − first quarter"] = _difference(_rises(curves[claim.rises]))
        others = {
            f"{a} − {b}, {title}": between(a, b, title) for a, b, column in pairs for title in SUMMED if title != column
        }
        found.append(Finding(claim.text, _appears(claim, list(differences.values())), differences, others))
    return found


def findings_table(found: Sequence[Finding]) -> str:
    """Markdown: a row for each finding."""
    head = ["the paper's finding", "here", "differences that are above 0 if it is so", "the same rows elsewhere"]
    rows = [[one.claim, SIGNS[one.appears], _told(one.differences), _told(one.others)] for one in found]
    return markdown_table(head, rows)


def _told(differences: Mapping[str, Difference]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in differences.items())


def _appears(claim: Claim, differences: Sequence[Difference]) -> bool | None:
    """No if one is clearly below 0; yes if all (or one, where that is enough) are clearly above; else undecided."""
    signs = [one.sign for one in differences]
    if -1 in signs:
        return False
    if claim.one_is_enough:
        return True if 1 in signs and all(one.mean >= 0 for one in differences) else None
    return True if all(sign == 1 for sign in signs) else None


def _rises(curves: Sequence[Sequence[float]]) -> list[float]:
    parts = [(curve, max(1, len(curve) // 4)) for curve in curves]
    return [fmean(curve[-part:]) - fmean(curve[:part]) for curve, part in parts]


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
    error = math.sqrt(stdev(values) ** 2 / len(values) + shared) if len(values) > 1 else math.inf
    return Difference(fmean(values), error if math.isfinite(error) else None)
