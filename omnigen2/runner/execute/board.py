"""Shows a plan while it runs, one run or a hundred: drawn again and again on a terminal, lines elsewhere."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from omnigen2.runner.execute.progress import Progress
from omnigen2.runner.plan import Cell, Plan, Run

State = Literal["waiting", "running", "finished", "failed"]
SIGNS: Mapping[State, str] = {"waiting": "·", "running": "▶", "finished": "✓", "failed": "✗"}
QUIET_SECONDS = 10.0
MOST_LINES = 8
"""Of running runs that are named at once."""


@dataclass
class _Shown:
    state: State = "waiting"
    progress: Progress | None = None
    before: float | None = None  # the share that was done when we first heard of it

    @property
    def done(self) -> float:
        """The share of the run that is done, 0 to 1."""
        if self.state == "finished":
            return 1.0
        return self.progress.step / self.progress.steps if self.progress and self.progress.steps else 0.0


class Board:
    """Knows how far every run of a plan is.

    Args:
        plan: The plan.
        finished: The final metrics of runs that were finished before.
        console: Where to draw.
    """

    def __init__(self, plan: Plan, finished: Mapping[Run, Mapping[str, float]], console: Console) -> None:
        self.plan = plan
        self.console = console
        self._began = self._spoke = time.monotonic()
        self._runs = {run: _Shown() for run in plan.runs}
        for run, metrics in finished.items():
            self._runs[run] = _Shown("finished", Progress(0, 0, metrics), 1.0)
        self._live = Live(console=console, auto_refresh=False, get_renderable=self.table)

    def __enter__(self) -> "Board":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Print a line as it is: not coloured, not wrapped."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
        self._spoke = time.monotonic()

    def update(self, run: Run, state: State, progress: Progress | None = None) -> None:
        """Take note of a change of a run, and of how far it is, if it said so."""
        shown = self._runs[run]
        changed, first = shown.state != state, shown.progress is None
        shown.state = state
        if progress is not None:
            shown.progress = progress
            shown.before = shown.done if shown.before is None else shown.before
        if not self.console.is_terminal:
            if len(self._runs) == 1 and (first or changed):
                self.say(self.line(run))
            elif changed:
                self.say(f"{SIGNS[state]} {run.name}: {state} {self._metric(shown)}".rstrip())
        self.tick()

    def tick(self) -> None:
        """Draw again, or say how far everything is when nothing was said for a while."""
        if self.console.is_terminal:
            self._live.refresh()
        elif time.monotonic() - self._spoke > QUIET_SECONDS:
            running = [self.line(run) for run, shown in self._runs.items() if shown.state == "running"]
            more = [f"… and {len(running) - MOST_LINES} more"] if len(running) > MOST_LINES else []
            self.say("\n".join([*([self.footer()] if len(self._runs) > 1 else []), *running[:MOST_LINES], *more]))

    def line(self, run: Run) -> str:
        """Say how far a run is, with all its metrics."""
        shown = self._runs[run]
        progress = shown.progress or Progress(0, 0, {})
        parts = [f"{run.name}: step {progress.step}" + (f" of {progress.steps}" if progress.steps else "")]
        parts += [f"{name} {value:.4g}" for name, value in sorted(progress.metrics.items())]
        left = self.seconds_left() if len(self._runs) == 1 else None
        return " · ".join(parts + ([f"{duration(left)} left"] if left is not None else []))

    def footer(self) -> str:
        """Say in one line how much is done and how long the rest takes."""
        states = [shown.state for shown in self._runs.values()]
        parts = [f"{states.count('finished')} of {len(states)} runs finished"] if len(states) > 1 else []
        parts += [f"{states.count('failed')} failed"] if "failed" in states else []
        left = self.seconds_left()
        return ", ".join(parts + ([f"about {duration(left)} left"] if left is not None else []))

    def seconds_left(self) -> float | None:
        """Estimate the time to the end from the pace since the start; None as long as there is no pace."""
        work = sum(shown.done - (shown.before or 0.0) for shown in self._runs.values())
        left = sum(1 - shown.done for shown in self._runs.values() if shown.state in ("waiting", "running"))
        return left * (time.monotonic() - self._began) / work if work > 0.01 and left else None

    def table(self) -> Group:
        """Draw a bar for each of a few runs one after the other, or rows times seeds; and the footer."""
        if len(self.plan.cells) == 1:
            table = Table.grid(padding=(0, 1))
            for run, shown in self._runs.items():
                progress = shown.progress or Progress(0, 0, {})
                steps = f"{progress.step}/{progress.steps}" if progress.steps else ""
                metrics = " · ".join(f"{name} {value:.4g}" for name, value in sorted(progress.metrics.items()))
                bar = ProgressBar(total=1.0, completed=shown.done, width=30)
                table.add_row(SIGNS[shown.state], run.name, bar, steps, metrics)
        else:
            table = Table()
            for head in ("row", *(f"seed {seed}" for seed in self.plan.seeds)):
                table.add_column(head)
            for row in self.plan.rows:
                table.add_row(row.title, *(self._cell((row.name, seed)) for seed in self.plan.seeds))
        return Group(table, self.footer())

    def _cell(self, cell: Cell) -> str:
        runs = [self._runs[run] for run in self.plan.cells[cell].values()]
        open_runs = [shown for shown in runs if shown.state != "finished"]
        shown = open_runs[0] if open_runs else runs[-1]
        stage = f" {len(runs) - len(open_runs) + 1}/{len(runs)}" if len(runs) > 1 and open_runs else ""
        share = f" {shown.done:.0%}" if shown.state == "running" else ""
        return f"{SIGNS[shown.state]}{stage}{share} {self._metric(shown)}".rstrip()

    def _metric(self, shown: _Shown) -> str:
        metrics = {} if shown.progress is None else shown.progress.metrics
        watched = self.plan.watch
        names = [watched] if watched else sorted(metrics, key=lambda name: ("loss" not in name, name))
        return f"{names[0]} {metrics[names[0]]:.3g}" if names and names[0] in metrics else ""


def duration(seconds: float) -> str:
    """Write a duration as a person would say it: `45 s`, `12 min` or `3 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
