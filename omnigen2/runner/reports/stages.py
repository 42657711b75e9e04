"""What stages hand to their report, and the report that is used when a recipe names none."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from typing_extensions import override

from omnigen2.files import markdown_table, write_json, write_text
from omnigen2.runner.reports.study import check_columns

PLOT = "loss.png"
INK = "#222222"
LINE = "#0072B2"


@dataclass(frozen=True)
class StageResult:
    """One finished stage.

    Attributes:
        name: Its key under `stages`.
        start: The stage whose weights it started from; None for none.
        metrics: The rows of `metrics.csv` in order, numbers only; a metric that a row does not have is absent, and
            every row has `step`.
        summary: The stage's `run.json`: `seconds`, `parameters`, `steps`, `seed`, `versions`, `final`, ….
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
        """The (step, value) pairs of one metric, counted from the start of the stage; empty if it was never logged."""
        return [(int(row["step"]), row[metric]) for row in self.metrics if metric in row]


@dataclass(frozen=True)
class StagesResult:
    """All finished stages of a recipe, in its order; `folder` exists, and the stages' folders are in it.

    Attributes:
        name: The stem of the recipe.
        command: The command that runs the stages again.
        versions: Versions of Python and of the libraries.
    """

    name: str
    folder: Path
    stages: tuple[StageResult, ...]
    command: str
    versions: Mapping[str, str]

    @property
    def seconds(self) -> float:
        """Training time summed over the stages."""
        return sum(stage.seconds for stage in self.stages)

    def stage(self, name: str) -> StageResult:
        """Return one stage.

        Raises:
            KeyError: If there is no such stage.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(f"no stage {name!r} in {self.name!r}; it has {', '.join(s.name for s in self.stages)}")


class StagesReport(ABC):
    """Turns finished stages into files. Recipes name one under `report` by `class_path`."""

    @abstractmethod
    def write(self, result: StagesResult) -> None:
        """Write `report.md` and `report.json` (and plots) into `result.folder`; the same result, the same files.

        The runner prints the first table of `report.md` when the last stage ends.
        """


class StageTable(StagesReport):
    """One line per stage: steps, minutes, final value of each metric; and the loss over all stages as a plot.

    Args:
        metrics: Columns of the table; every metric that any stage has logged if not given.
        loss: The metric to plot; of each stage the first one that has `loss` in its name if not given.
        digits: Significant digits in the table (the JSON has all), at least 1.
    """

    def __init__(self, metrics: Sequence[str] | None = None, loss: str | None = None, digits: int = 3) -> None:
        check_columns(metrics, digits)
        self.metrics = metrics
        self.loss = loss
        self.digits = digits

    @override
    def write(self, result: StagesResult) -> None:
        """Write `report.md`, `report.json`, and `loss.png` if any stage has logged a loss."""
        figure = plot_losses(result, self.loss)
        if figure is not None:
            figure.savefig(result.folder / PLOT, dpi=160, facecolor="white", metadata={"Software": None})
        write_text(result.folder / "report.md", self._text(result, plotted=figure is not None))
        write_json(result.folder / "report.json", self._data(result))

    def _text(self, result: StagesResult, plotted: bool) -> str:
        logged = {name for stage in result.stages for name in stage.summary["final"]}
        names = list(self.metrics) if self.metrics is not None else sorted(logged)
        lines = [
            [
                f"[{stage.name}]({stage.folder.relative_to(result.folder).as_posix()}/report.md)",
                stage.start or "nothing",
                str(stage.steps),
                f"{stage.seconds / 60:.1f}",
                *(self._final(stage, name) for name in names),
            ]
            for stage in result.stages
        ]
        versions = ", ".join(f"{name} {number}" for name, number in result.versions.items())
        parts = [
            f"# {result.name}",
            markdown_table(["stage", "starts from", "steps", "minutes", *names], lines),
            *([f"![loss over all stages]({PLOT})"] if plotted else []),
            f"Final values. {len(result.stages)} stages, {result.seconds / 60:.1f} minutes of training; {versions}.",
            f"    {result.command}",
        ]
        return "\n\n".join(parts) + "\n"

    def _final(self, stage: StageResult, name: str) -> str:
        value = stage.summary["final"].get(name)
        return "–" if value is None else f"{value:.{self.digits}g}"

    def _data(self, result: StagesResult) -> dict[str, Any]:
        return {
            "name": result.name,
            "command": result.command,
            "seconds": result.seconds,
            "versions": dict(result.versions),
            "stages": {stage.name: {"start": stage.start, **stage.summary} for stage in result.stages},
        }


def plot_losses(result: StagesResult, metric: str | None = None) -> Figure | None:
    """Draw a metric (the first loss of each stage if not given) of all stages one after the other; None without any."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    before, drawn, positive = 0, 0, True
    for stage in result.stages:
        name = metric or first_loss(stage)
        curve = stage.curve(name) if name else []
        if curve:
            axes.plot([before + step for step, _ in curve], [value for _, value in curve], color=LINE, linewidth=1.2)
        drawn += len(curve)
        positive = positive and all(value > 0 for _, value in curve)
        axes.axvline(before, color="#cccccc", linewidth=0.8, zorder=0)
        axes.annotate(
            stage.name, (before, 1), xycoords=("data", "axes fraction"), xytext=(3, -3), textcoords="offset points",
            va="top", rotation=90, fontsize=7.5, color=INK,
        )  # fmt: skip
        before += stage.steps
    if positive:
        axes.set_yscale("log")
    axes.set_xlim(0, max(before, 1))
    axes.set_xlabel("training steps, all stages", color=INK)
    axes.set_ylabel(metric or "loss", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    return figure if drawn else None


def first_loss(stage: StageResult) -> str | None:
    """The first metric of a stage, in alphabetical order, that has `loss` in its name; None if there is none."""
    return next((name for name in sorted(stage.summary["final"]) if "loss" in name), None)
