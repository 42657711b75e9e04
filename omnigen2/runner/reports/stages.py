"""The report of runs one after the other: a line for each, and the loss over all of them."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from matplotlib.figure import Figure
from typing_extensions import override

from omnigen2.files import markdown_table, write_json, write_text
from omnigen2.runner.plan import Plan, Report, Results, RunResult
from omnigen2.runner.reports.study import check_columns

PLOT = "loss.png"
INK = "#222222"
LINE = "#0072B2"


class StageTable(Report):
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
    def write(self, plan: Plan, results: Results) -> None:
        """Write `report.md`, `report.json`, and `loss.png` if any stage has logged a loss."""
        figure = plot_losses(results.runs, self.loss)
        if figure is not None:
            figure.savefig(plan.folder / PLOT, dpi=160, facecolor="white", metadata={"Software": None})
        write_text(plan.folder / "report.md", self._text(plan, results, plotted=figure is not None))
        data = {
            "name": plan.name,
            "command": plan.command,
            "seconds": results.seconds,
            "versions": dict(results.versions),
            "stages": {run.name: {"start": run.start, **run.summary} for run in results.runs},
        }
        write_json(plan.folder / "report.json", data)

    def _text(self, plan: Plan, results: Results, plotted: bool) -> str:
        logged = {name for run in results.runs for name in run.summary["final"]}
        names = list(self.metrics) if self.metrics is not None else sorted(logged)
        lines = [
            [
                f"[{run.name}]({Path(os.path.relpath(run.folder, plan.folder)).as_posix()}/report.md)",
                run.start or "nothing",
                str(run.steps),
                f"{run.seconds / 60:.1f}",
                *(self._final(run, name) for name in names),
            ]
            for run in results.runs
        ]
        versions = ", ".join(f"{name} {number}" for name, number in results.versions.items())
        parts = [
            f"# {plan.name}",
            markdown_table(["stage", "starts from", "steps", "minutes", *names], lines),
            *([f"![loss over all stages]({PLOT})"] if plotted else []),
            f"Final values. {len(results.runs)} stages, {results.seconds / 60:.1f} minutes of training; {versions}.",
            f"    {plan.command}",
        ]
        return "\n\n".join(parts) + "\n"

    def _final(self, run: RunResult, name: str) -> str:
        value = run.summary["final"].get(name)
        return "–" if value is None else f"{value:.{self.digits}g}"


def plot_losses(runs: Sequence[RunResult], metric: str | None = None) -> Figure | None:
    """Draw a metric (the first loss of each run if not given) of runs one after the other; None without any."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    before, drawn, positive = 0, 0, True
    for run in runs:
        name, curve = metric or first_loss(run), list[tuple[int, float]]()
        with suppress(KeyError):
            curve = run.curve(name) if name else []
        if curve:
            axes.plot([before + step for step, _ in curve], [value for _, value in curve], color=LINE, linewidth=1.2)
        drawn += len(curve)
        positive = positive and all(value > 0 for _, value in curve)
        axes.axvline(before, color="#cccccc", linewidth=0.8, zorder=0)
        axes.annotate(
            run.name, (before, 1), xycoords=("data", "axes fraction"), xytext=(3, -3), textcoords="offset points",
            va="top", rotation=90, fontsize=7.5, color=INK,
        )  # fmt: skip
        before += run.steps
    if positive:
        axes.set_yscale("log")
    axes.set_xlim(0, max(before, 1))
    axes.set_xlabel("training steps, all stages", color=INK)
    axes.set_ylabel(metric or "loss", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    return figure if drawn else None


def first_loss(run: RunResult) -> str | None:
    """The first metric of a run, in alphabetical order, that has `loss` in its name; None if there is none."""
    return next((name for name in sorted(run.summary["final"]) if "loss" in name), None)
