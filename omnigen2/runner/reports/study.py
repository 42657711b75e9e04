"""What a study hands to its report, and the report that is used when a study names none.

A study is a table: rows (variants of one base recipe) times seeds. Every cell is a finished run.
A `StudyReport` turns the cells into `report.md` and `report.json`, and into plots if it likes; it
reads nothing but the `StudyResult`, so it can be tested without training anything.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from omnigen2.files import markdown_table, spread, write_json, write_text


@dataclass(frozen=True)
class Row:
    """One row of a study: a variant of the base recipe.

    Attributes:
        name: The key under `study.rows`; also the name of its folder.
        title: What the report calls it; the name if the recipe gives no title.
        notes: Whatever the recipe wants the report to know (a paper's numbers, a formula).
    """

    name: str
    title: str
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class CellResult:
    """One finished run: a row with a seed.

    Attributes:
        row: Name of the row.
        metrics: The rows of `metrics.csv` in order, numbers only; a metric that a row does not have is absent, and
            every row has `step`. Those of the last stage, if the row has stages.
        summary: The run's `run.json`: `seconds`, `parameters`, `steps`, `seed`, `versions`, ….
    """

    row: str
    seed: int
    folder: Path
    metrics: tuple[Mapping[str, float], ...]
    summary: Mapping[str, Any]

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """The (step, value) pairs of a column of `metrics.csv`.

        Raises:
            KeyError: If the run never logged that metric.
        """
        points = [(int(row["step"]), row[metric]) for row in self.metrics if metric in row]
        if not points and metric in self.summary.get("final", {}):
            points = [(int(self.summary["steps"]), float(self.summary["final"][metric]))]
        if not points:
            known = sorted({name for row in self.metrics for name in row} - {"step", "epoch"})
            raise KeyError(f"{self.folder} logged no metric {metric!r}; it has {', '.join(known) or 'none'}")
        return points


@dataclass(frozen=True)
class StudyResult:
    """All finished runs of a study.

    Attributes:
        name: Name of the study: the stem of its recipe.
        cells: One per row and seed, row by row.
        command: The command that makes the study again.
        seconds: Training time summed over the cells, interruptions included.
        jobs: How many cells ran side by side.
        base: The base recipe, as written (after the overrides that hold for all rows).
        versions: Versions of Python and of the libraries.
    """

    name: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    cells: tuple[CellResult, ...]
    command: str
    seconds: float
    jobs: int
    base: Mapping[str, Any]
    versions: Mapping[str, str]

    def cell(self, row: str, seed: int) -> CellResult:
        """Return one cell.

        Raises:
            KeyError: If the study has no such cell.
        """
        for cell in self.cells:
            if (cell.row, cell.seed) == (row, seed):
                return cell
        raise KeyError(f"no cell ({row!r}, {seed}) in the study {self.name!r}")

    def of_row(self, row: str) -> tuple[CellResult, ...]:
        """The cells of one row, in the order of the seeds."""
        return tuple(self.cell(row, seed) for seed in self.seeds)


class StudyReport(ABC):
    """Turns a finished study into files. Recipes name one under `study.report` by `class_path`."""

    @abstractmethod
    def write(self, result: StudyResult, folder: Path) -> None:
        """Write `report.md` and `report.json` (and plots) into the folder; the same result, the same files.

        The runner prints the first table of `report.md` when the study ends.
        """


def check_columns(metrics: Sequence[str] | None, digits: int) -> None:
    """Refuse a table without columns, or without digits.

    Raises:
        ValueError: If `digits` is less than 1 or `metrics` is an empty list.
    """
    if digits < 1:
        raise ValueError(f"digits must be at least 1, got {digits}")
    if metrics is not None and not metrics:
        raise ValueError("metrics is an empty list; leave it out to get every metric")


class MetricTable(StudyReport):
    """The final value of each metric: one line per row, mean ± standard deviation over the seeds.

    Args:
        metrics: Columns of `metrics.csv`; all that every cell has if not given.
        digits: Significant digits in the table (the JSON has all), at least 1.
    """

    def __init__(self, metrics: Sequence[str] | None = None, digits: int = 3) -> None:
        check_columns(metrics, digits)
        self.metrics = metrics
        self.digits = digits

    @override
    def write(self, result: StudyResult, folder: Path) -> None:
        names = list(self.metrics) if self.metrics is not None else common_metrics(result.cells)
        finals = {
            row.name: {name: [cell.curve(name)[-1][1] for cell in result.of_row(row.name)] for name in names}
            for row in result.rows
        }
        head = ["row", *names]
        lines = [[row.title, *(spread(finals[row.name][name], self.digits) for name in names)] for row in result.rows]
        seeds = ", ".join(map(str, result.seeds))
        text = (
            f"# {result.name}\n\n{markdown_table(head, lines)}\n\nFinal values, mean ± standard deviation over "
            f"the seeds {seeds}.\n{len(result.cells)} runs, {result.seconds / 60:.1f} minutes of training.\n\n"
            f"    {result.command}\n"
        )
        write_text(folder / "report.md", text)
        data = {
            "study": result.name,
            "command": result.command,
            "seeds": list(result.seeds),
            "seconds": result.seconds,
            "versions": dict(result.versions),
            "rows": {
                row.name: {"title": row.title, "notes": dict(row.notes), "final": finals[row.name]}
                for row in result.rows
            },
        }
        write_json(folder / "report.json", data)


def common_metrics(cells: Sequence[CellResult]) -> list[str]:
    """The metrics that every cell has logged, sorted; without the step and the epoch."""
    logged = [{name for row in (*cell.metrics, cell.summary.get("final", {})) for name in row} for cell in cells]
    return sorted(set.intersection(*logged) - {"step", "epoch"}) if logged else []
