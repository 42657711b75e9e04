"""From the curves of a toy study to the numbers of its table, and to whether the paper's order holds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, stdev
from typing import Literal, TypeAlias, assert_never

from omnigen2.rope_toy.data import EVALUATIONS
from omnigen2.runner.plan import Plan, Results, Row, RunResult

LOSS, MORE_REFERENCES, LARGER_IMAGES = EVALUATIONS
SECONDS, WAITING = "throughput/seconds_per_step", "throughput/data_seconds_per_step"
FINAL_EVALUATIONS = 3
"""The final loss is the mean of so many evaluations, the last ones."""

Verdict: TypeAlias = Literal["holds", "does not hold", "cannot be decided"]


@dataclass(frozen=True)
class RowNumbers:
    """What one row of the study measured, one value per seed.

    Attributes:
        row: The row.
        limit: Training steps in all.
        steps: Steps until the loss was below the target for the first time; None where it never was.
        final: Final loss.
        more_references: Loss with one picture more than in training.
        larger_images: Loss with larger pictures than in training.
        step_seconds: Median seconds of a training step, without the wait for its data.
    """

    row: Row
    limit: int
    steps: tuple[int | None, ...]
    final: tuple[float, ...]
    more_references: tuple[float, ...]
    larger_images: tuple[float, ...]
    step_seconds: tuple[float, ...]

    @property
    def reached(self) -> tuple[int, ...]:
        """The steps of those seeds that reached the target."""
        return tuple(step for step in self.steps if step is not None)

    @property
    def all_reached(self) -> bool:
        """Whether every seed reached the target."""
        return None not in self.steps

    @property
    def least_steps(self) -> float:
        """Mean steps to the target, exact if every seed reached it, else a lower bound."""
        return fmean(self.limit if step is None else step for step in self.steps)

    @property
    def steps_text(self) -> str:
        """Mean and spread of the steps, without a number for the seeds that never reached the target."""
        reached, seeds = self.reached, len(self.steps)
        if not reached:
            return f"> {self.limit}" if seeds == 1 else f"> {self.limit} (0 of {seeds} seeds)"
        mean = f"{fmean(reached):.0f}" + (f" ± {stdev(reached):.0f}" if len(reached) > 1 else "")
        return mean if self.all_reached else f"> {self.limit}; {len(reached)} of {seeds} seeds: {mean}"


def numbers_of(plan: Plan, results: Results, target: float) -> tuple[RowNumbers, ...]:
    """Read the numbers of every row; `target` is the loss that is to be reached."""
    found: list[RowNumbers] = []
    for row in plan.rows:
        runs = results.of_row(row.name)
        curves = [run.curve(LOSS) for run in runs]
        found.append(
            RowNumbers(
                row=row,
                limit=max(curve[-1][0] for curve in curves),
                steps=tuple(first_below(curve, target) for curve in curves),
                final=tuple(fmean(loss for _, loss in curve[-FINAL_EVALUATIONS:]) for curve in curves),
                more_references=tuple(run.curve(MORE_REFERENCES)[-1][1] for run in runs),
                larger_images=tuple(run.curve(LARGER_IMAGES)[-1][1] for run in runs),
                step_seconds=tuple(map(_step_seconds, runs)),
            )
        )
    return tuple(found)


def _step_seconds(run: RunResult) -> float:
    both = zip(run.curve(SECONDS), run.curve(WAITING), strict=True)
    return median(seconds - waiting for (_, seconds), (_, waiting) in both)


def first_below(curve: Sequence[tuple[int, float]], target: float) -> int | None:
    """The first step of a curve of (step, loss) at which the loss is below the target; None if there is none."""
    return next((step for step, loss in curve if loss < target), None)


@dataclass(frozen=True)
class Order:
    """Whether rows stand in the order of the paper's table.

    Attributes:
        verdict: About all neighbouring pairs together.
        reasons: One clause per pair that is not as in the paper, or cannot be decided.
        values: The compared values in the order of the table, for the reader.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    values: str


def order_of_steps(rows: Sequence[RowNumbers]) -> Order:
    """Compare mean steps to the target, the slowest row first.

    Of rows with the paper's numbers, in its order, the first of a pair must need more steps; or no fewer, if the paper
    reports equal steps. Where a seed never reached the target its steps have only a lower bound, so a pair of rows may
    be undecided.
    """
    found: list[tuple[Verdict, str]] = []
    for slow, fast in pairwise(rows):
        tie = slow.row.notes["paper_steps"] == fast.row.notes["paper_steps"]
        as_in_paper = slow.least_steps >= fast.least_steps if tie else slow.least_steps > fast.least_steps
        words = f"{slow.row.title} ({short_steps(slow)}) against {fast.row.title} ({short_steps(fast)})"
        if fast.all_reached and (as_in_paper or slow.all_reached):
            found.append(("holds" if as_in_paper else "does not hold", words))
        elif slow.all_reached and fast.least_steps > slow.least_steps:
            found.append(("does not hold", words))
        else:
            found.append(("cannot be decided", words))
    return _order(found, ", ".join(map(short_steps, rows)))


def order_of_final_loss(rows: Sequence[RowNumbers]) -> Order:
    """Compare mean final losses, the highest first.

    The first of a pair must end higher; or no lower, if the paper reports equal steps, because then its losses differ
    by no more than rounding and chance.
    """
    found: list[tuple[Verdict, str]] = []
    for high, low in pairwise(rows):
        tie = high.row.notes["paper_steps"] == low.row.notes["paper_steps"]
        first, second = fmean(high.final), fmean(low.final)
        words = f"{high.row.title} ({first:.4f}) against {low.row.title} ({second:.4f})"
        found.append(("holds" if first > second or (tie and first == second) else "does not hold", words))
    return _order(found, ", ".join(f"{fmean(row.final):.4f}" for row in rows))


def short_steps(row: RowNumbers) -> str:
    """The mean steps to the target: something like `483`, or `> 850` for a mean that is a lower bound."""
    return f"{row.least_steps:.0f}" if row.all_reached else f"> {math.floor(row.least_steps)}"


def loss_text(losses: Sequence[float]) -> str:
    """Mean and spread, `0.0018 ± 0.0004`, all to the same decimals so that a column can be read down.

    There is no spread of one value.
    """
    mean = f"{fmean(losses):.4f}"
    return f"{mean} ± {stdev(losses):.4f}" if len(losses) > 1 else mean


def sentence(rows: Sequence[RowNumbers], target: float) -> str:
    """Say whether the paper's order holds of the rows with `paper_steps` in their notes, in their order."""
    compared = [row for row in rows if "paper_steps" in row.row.notes]
    if len(compared) < 2:
        return "The study has fewer than two of the paper's rows, so there is no order to compare."
    names = ", ".join(row.row.title for row in compared)
    parts = [
        _clause(f"for the steps to a loss below {target:g}", order_of_steps(compared)),
        _clause("for the final loss", order_of_final_loss(compared)),
    ]
    return f"The paper's order, slowest first ({names}), {' and '.join(parts)}."


def _clause(subject: str, order: Order) -> str:
    match order.verdict:
        case "holds":
            return f"holds {subject} ({order.values})"
        case "does not hold" | "cannot be decided":
            return f"{order.verdict} {subject} ({order.values}: {'; '.join(order.reasons)})"
        case _:
            assert_never(order.verdict)


def _order(pairs: Sequence[tuple[Verdict, str]], values: str) -> Order:
    worst_first: tuple[Verdict, ...] = ("does not hold", "cannot be decided")
    for overall in worst_first:
        reasons = tuple(words for verdict, words in pairs if verdict == overall)
        if reasons:
            return Order(overall, reasons, values)
    return Order("holds", (), values)
