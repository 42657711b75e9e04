"""Two results side by side, with paired bootstrap intervals of their difference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnigen2.evaluation.benchmarks import Benchmark, column_values
from omnigen2.evaluation.drawn import chosen, titled
from omnigen2.evaluation.judging import BenchmarkResult, Record
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import markdown_table

FEW = 3
"""Groups with fewer pairs are named beside the intervals: drawn again from so few, means hardly move."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One score of two results, and the interval, `low` to `high`, of `second - first`."""

    column: str
    first: float
    second: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results over the items that are valid in both.

    Attributes:
        pairs: Items that are valid in both.
        items: Items of the benchmark in either.
        small: Groups of so few pairs that resampling them says little about their spread; see `FEW`.
    """

    first: str
    second: str
    differences: tuple[Difference, ...]
    pairs: int
    items: int
    level: float
    resamples: int
    small: tuple[str, ...] = ()

    def table(self) -> str:
        """Markdown: one row for each score, and what the numbers are over."""
        head = ["score", self.first, self.second, "difference", f"{self.level:.0%} interval", ""]
        rows = [
            [
                one.column,
                f"{one.first:.3f}",
                f"{one.second:.3f}",
                f"{one.second - one.first:+.3f}",
                f"{one.low:+.3f} to {one.high:+.3f}",
                "differs" if one.clear else "no clear difference",
            ]
            for one in self.differences
        ]
        table = markdown_table(head, rows, right=True)
        said = (
            f"{table}\n\nOver the {self.pairs} of {self.items} items that are valid in both; "
            f"means over groups; paired bootstrap within groups, {self.resamples} resamples."
        )
        if self.small:
            said += (
                f" The intervals are too narrow: {len(self.small)} groups have fewer than {FEW} pairs "
                f"({', '.join(self.small)}), and a group of one pair has no spread at all."
            )
        return said


def compare(
    first: BenchmarkResult,
    second: BenchmarkResult,
    benchmark: Benchmark,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    any_choice: bool = False,
) -> Comparison:
    """Compare two results of one benchmark, item by item.

    Items are drawn with replacement within each group, the same items for both results, so what makes an item hard
    for both cancels.

    Args:
        resamples: Of the bootstrap, at least 100.
        level: Of the intervals, in (0, 1).
        any_choice: Whether pictures of which a judge chose the best may be compared with others.

    Raises:
        EvaluationError: If the results cannot be compared: other benchmarks, other protocols, pictures that were chosen
            otherwise, or no common item.

    Source: percentile bootstrap of paired differences (Efron and Tibshirani, 1993, chapter 13).
    """
    _check(first, second, benchmark, resamples, level, seed)
    ways = [chosen(result.drawn) for result in (first, second)]
    if ways[0] != ways[1] and not any_choice:
        raise EvaluationError(
            f"the pictures were chosen differently: {' and '.join(way or 'not chosen' for way in ways)}",
            "draw both in one way; --any_choice compares them all the same, to see what choosing brings",
        )
    ones, twos = ({record.name: record for record in result.records} for result in (first, second))
    both = sorted(name for name in ones.keys() & twos.keys() if _valid(ones, name) and _valid(twos, name))
    if not both:
        raise EvaluationError("no item is valid in both results", "do they hold the same keys? see their problems")
    groups = sorted({name[0] for name in both})
    rng = np.random.default_rng(seed)
    means: list[Float[np.ndarray, "two columns"]] = []
    draws: list[Float[np.ndarray, "resamples columns"]] = []
    small: list[str] = []
    for group in groups:
        names = [name for name in both if name[0] == group]
        if len(names) < FEW:
            small.append(group)
        a, b = (_columns(benchmark, [side[name] for name in names]) for side in (ones, twos))
        means.append(np.stack([a.mean(0), b.mean(0)]))
        picked = rng.integers(len(names), size=(resamples, len(names)))
        draws.append((b - a)[picked].mean(1))
    mean, drawn = np.mean(means, axis=0), np.mean(draws, axis=0)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    columns = list(column_values(benchmark, ones[both[0]]))
    differences = [
        Difference(column, *(float(x) for x in values))
        for column, *values in zip(columns, mean[0], mean[1], low, high, strict=True)
    ]
    total = len(ones.keys() | twos.keys())
    names = [titled(result.name, result) for result in (first, second)]
    return Comparison(names[0], names[1], tuple(differences), len(both), total, level, resamples, tuple(small))


def _columns(benchmark: Benchmark, records: Sequence[Record]) -> Float[np.ndarray, "records columns"]:
    return np.array([_values(benchmark, record) for record in records])


def _values(benchmark: Benchmark, record: Record) -> list[float]:
    try:
        return list(column_values(benchmark, record).values())
    except ValueError as error:  # a group, or a score, that the benchmark has not
        raise EvaluationError(
            f"the result of {'/'.join(record.name)}: {error}", "evaluate the pictures again"
        ) from error


def _valid(records: Mapping[tuple[str, str, str], Record], name: tuple[str, str, str]) -> bool:
    return records[name].valid


def _check(
    first: BenchmarkResult, second: BenchmarkResult, benchmark: Benchmark, resamples: int, level: float, seed: int
) -> None:
    if resamples < 100 or not 0 < level < 1 or seed < 0:
        got = f"got {resamples} resamples, level {level} and seed {seed}"
        raise EvaluationError(got, "use at least 100, a level in (0, 1), and a seed of at least 0")
    if {first.benchmark, second.benchmark} != {benchmark.name}:
        raise EvaluationError(
            f"the results are of {first.benchmark} and {second.benchmark}", "only results of one benchmark compare"
        )
    apart: Sequence[str] = first.protocol.differences(second.protocol)
    if apart:
        raise EvaluationError(
            f"the results were judged differently ({'; '.join(apart)})".replace("; ", ", "),
            "judge both with one protocol; such numbers cannot be compared",
        )
