"""A plan is a graph of runs: which there are, what each starts from, and which report is made of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from omnigen2.runner.plan.config import Config
from omnigen2.runner.plan.machines import Machines
from omnigen2.runner.recipe import Document, as_yaml

Cell: TypeAlias = tuple[str, int | None]
"""A row of a plan and a seed."""


@dataclass(frozen=True, eq=False)
class Run:
    """One run.

    Attributes:
        name: What it is called in its plan, such as `row/seed_0/stage`.
        folder: Where it is written; it may not exist yet.
        config: Its resolved settings, with paths of the runs that it needs.
        start: The run whose weights it starts from; None for none.
        needs: The runs that have to be finished before, by the names that its settings give them.
        references: From paths into folders of `needs` to the `@stage/path` that the recipe has.
    """

    name: str
    folder: Path
    config: Config
    start: "Run | None" = None
    needs: Mapping[str, "Run"] = field(default_factory=dict[str, "Run"])
    references: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Row:
    """One row of a plan: a variant of what is run.

    Attributes:
        name: Its key under `study.rows`; also the name of its folder.
        title: What the report calls it; the name if the recipe gives no title.
        notes: Whatever the recipe wants the report to know (a paper's numbers, a formula).
    """

    name: str
    title: str
    notes: Mapping[str, Any]


@dataclass
class Rank:
    """How a report orders the rows.

    Attributes:
        metric: A metric that every run has logged.
        best: Which of its values is the best one.
    """

    metric: str
    best: Literal["lowest", "highest"] = "lowest"


@dataclass(frozen=True)
class Plan:
    """A checked recipe of any form: rows times seeds, each of them a run, or stages that start from each other.

    A plain recipe has one row, one seed and one run; stages are one row and one seed. Runs that are equal, and start
    from equal ones, are one run, in whose folder all cells find it.

    Attributes:
        name: The stem of the recipe.
        folder: Where everything is written; of a plain recipe also the run's.
        command: The command that runs the recipe again.
        cells: The runs of each row and seed by the names of their stages, in order; all rows of the first seed first.
        document: The recipe with all settings resolved; it runs the same, under any name and in any folder.
        report: Makes the report; None for the one that is usual for such a plan.
        watch: The metric to show while it runs; None for the first loss.
        rank: How the report orders the rows; None for the order of the recipe.
        machines: Where runs are carried out, as the recipe says.
        links: Where else cells look for shared runs: from those places to the runs' folders.
    """

    name: str
    folder: Path
    command: str
    rows: tuple[Row, ...]
    seeds: tuple[int | None, ...]
    cells: Mapping[Cell, Mapping[str, Run]]
    document: Document
    report: "Report | None" = None
    watch: str | None = None
    rank: Rank | None = None
    machines: Machines = field(default_factory=Machines)
    links: Mapping[Path, Path] = field(default_factory=dict[Path, Path])

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run once, each behind those that it needs."""
        return tuple(dict.fromkeys(run for cell in self.cells.values() for run in cell.values()))

    @property
    def text(self) -> str:
        """`document` as YAML."""
        return as_yaml(self.document)

    def cell_folder(self, row: str, seed: int | None) -> Path:
        """Where the runs of a cell are found; that of the plan if it is no study."""
        return self.folder if seed is None else self.folder / row / f"seed_{seed}"

    def part(self, row: Row, seed: int | None) -> "Plan":
        """One cell as a plan of its own."""
        own = {(row.name, seed): self.cells[row.name, seed]}
        folder = self.cell_folder(row.name, seed)
        return replace(self, name=row.title, folder=folder, rows=(row,), seeds=(seed,), cells=own, report=None)


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    Attributes:
        name: Of a stage its key under `stages`, else the name of the row.
        start: The stage whose weights it started from; None for none.
        metrics: The rows of `metrics.csv` in order, numbers only; a metric that a row does not have is absent, and
            every row has `step`.
        summary: The run's `run.json`: `seconds`, `parameters`, `steps`, `seed`, `versions`, `final`, ….
    """

    name: str
    start: str | None
    folder: Path
    metrics: tuple[Mapping[str, float], ...]
    summary: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        """Training time, interruptions not counted."""
        return float(self.summary["seconds"])

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return int(self.summary["steps"])

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """The (step, value) pairs of one metric, counted from the start of the run.

        Raises:
            KeyError: If the run never logged that metric.
        """
        points = [(int(row["step"]), row[metric]) for row in self.metrics if metric in row]
        if not points and metric in self.summary.get("final", {}):
            points = [(self.steps, float(self.summary["final"][metric]))]
        if not points:
            known = sorted({name for row in self.metrics for name in row} - {"step", "epoch"})
            raise KeyError(f"{self.folder} logged no metric {metric!r}; it has {', '.join(known) or 'none'}")
        return points


@dataclass(frozen=True)
class Results:
    """What the finished runs of a plan have left.

    Attributes:
        cells: The runs of each row and seed in order; those that are shared stand in several.
        versions: Versions of Python and of the libraries.
        jobs: How many ran side by side.
    """

    cells: Mapping[Cell, Sequence[RunResult]]
    versions: Mapping[str, str]
    jobs: int = 1

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """Every run once, unless it has several names."""
        return tuple({(run.folder, run.name): run for cell in self.cells.values() for run in cell}.values())

    @property
    def seconds(self) -> float:
        """Training time summed over the runs, interruptions not counted."""
        return sum({run.folder: run.seconds for run in self.runs}.values())

    def of_row(self, row: str) -> tuple[RunResult, ...]:
        """What each seed of a row has come to: its last run, in the order of the seeds."""
        return tuple(runs[-1] for (name, _), runs in self.cells.items() if name == row)


class Report(ABC):
    """Turns finished runs into files. Recipes name one by `class_path`, under `report` or `study.report`."""

    @abstractmethod
    def write(self, plan: Plan, results: Results) -> None:
        """Write `report.md` and `report.json` (and plots) into `plan.folder`; the same results, the same files.

        The runner prints the first table of `report.md` in the end.
        """
