"""Shows a study while it runs: a live table on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from omnigen2.runner.execute.cell import Task
from omnigen2.runner.execute.pool import State
from omnigen2.runner.execute.progress import Progress, duration
from omnigen2.runner.reports import Row

Key = tuple[str, int]
SIGNS: Mapping[State, str] = {"waiting": "·", "running": "▶", "finished": "✓", "failed": "✗"}
QUIET_SECONDS = 20.0


def print_line(console: Console, text: str) -> None:
    """Print text as it is: not coloured, not wrapped."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


@dataclass
class _Cell:
    state: State
    progress: Progress | None
    done: float  # part of the cell that is done, 0 to 1
    done_before: float | None  # the part that was done when we first heard of it


class Board:
    """Knows how far every cell is.

    Args:
        rows: The rows of the study.
        seeds: Its seeds.
        finished: The cells that were finished before, with their final metrics.
        watch: The metric to show; the first one that is called a loss if not given.
        console: Where to draw.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        seeds: Sequence[int],
        finished: Mapping[Key, Mapping[str, float]],
        watch: str | None,
        console: Console,
    ) -> None:
        self.rows = rows
        self.seeds = seeds
        self.watched = watch
        self.console = console
        self._began = self._spoke = time.monotonic()
        self._cells = {(row.name, seed): _Cell("waiting", None, 0.0, None) for seed in seeds for row in rows}
        for key, metrics in finished.items():
            self._cells[key] = _Cell("finished", Progress(0, 0, metrics), 1.0, 1.0)
        self._live = Live(console=console, auto_refresh=False, get_renderable=self.table)

    def __enter__(self) -> "Board":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def update(self, task: Task, state: State, progress: Progress | None) -> None:
        """Take note of a change of a cell, and of how far it is, if it said so."""
        cell = self._cells[task.row, task.seed]
        changed = cell.state != state
        cell.state = state
        if progress is not None:
            cell.progress = progress
            cell.done = progress.step / progress.steps if progress.steps else 0.0
            cell.done_before = cell.done if cell.done_before is None else cell.done_before
        if state == "finished":
            cell.done = 1.0
        if changed and not self.console.is_terminal:
            self._say(f"{SIGNS[state]} {task.row}, seed {task.seed}: {state} {self._metric(cell)}".rstrip())

    def tick(self) -> None:
        """Draw again, or say how far the study is when nothing was said for a while."""
        if self.console.is_terminal:
            self._live.refresh()
        elif time.monotonic() - self._spoke > QUIET_SECONDS:
            running = [
                f"{row} {seed} at {cell.done:.0%} {self._metric(cell)}".rstrip()
                for (row, seed), cell in self._cells.items()
                if cell.state == "running"
            ]
            self._say(f"{self.footer()}: {', '.join(running)}")

    def footer(self) -> str:
        """Say in one line how much is done and how long the rest takes."""
        states = [cell.state for cell in self._cells.values()]
        parts = [f"{states.count('finished')} of {len(states)} runs finished"]
        parts += [f"{states.count('failed')} failed"] if "failed" in states else []
        left = self.seconds_left()
        return ", ".join(parts + ([f"about {duration(left)} left"] if left is not None else []))

    def seconds_left(self) -> float | None:
        """Estimate the time to the end from the pace since the start; None as long as there is no pace."""
        cells = self._cells.values()
        work = sum(cell.done - (cell.done_before or 0.0) for cell in cells)
        left = sum(1 - cell.done for cell in cells if cell.state in ("waiting", "running"))
        return left * (time.monotonic() - self._began) / work if work > 0.01 and left else None

    def table(self) -> Group:
        """Draw rows times seeds, and the footer."""
        table = Table()
        table.add_column("row")
        for seed in self.seeds:
            table.add_column(f"seed {seed}")
        for row in self.rows:
            table.add_row(row.title, *(self._text(self._cells[row.name, seed]) for seed in self.seeds))
        return Group(table, self.footer())

    def _text(self, cell: _Cell) -> str:
        share = f" {cell.done:.0%}" if cell.state == "running" else ""
        return f"{SIGNS[cell.state]}{share} {self._metric(cell)}".rstrip()

    def _metric(self, cell: _Cell) -> str:
        metrics = {} if cell.progress is None else cell.progress.metrics
        names = [self.watched] if self.watched else sorted(metrics, key=lambda name: ("loss" not in name, name))
        return f"{names[0]} {metrics[names[0]]:.3g}" if names and names[0] in metrics else ""

    def _say(self, line: str) -> None:
        print_line(self.console, line)
        self._spoke = time.monotonic()
