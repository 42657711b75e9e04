"""What is shown while a study runs."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from omnigen2.runner.execute import board as board_module
from omnigen2.runner.execute.board import Board
from omnigen2.runner.execute.cell import Task
from omnigen2.runner.execute.progress import PlainLines, Progress, duration
from omnigen2.runner.reports.study import Row

ROWS = (Row("a", "The A", {}), Row("b", "b", {}))
TASK = Task("a", 0, Path("x"), "", "")


def board(terminal: bool, watch: str | None = None) -> tuple[Board, io.StringIO]:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, color_system=None)
    return Board(ROWS, (0, 1), {("b", 1): {"loss": 0.5}}, watch, console), text


def test_the_table_shows_states_progress_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(board_module.time, "monotonic", lambda: now[0])
    shown, text = board(terminal=True)
    shown.update(TASK, "running", Progress(0, 100, {}))
    now[0] = 60.0
    shown.update(TASK, "running", Progress(50, 100, {"acc": 1.0, "train/loss": 0.25}))
    assert shown.seconds_left() == 60.0 * 2.5 / 0.5
    shown.update(Task("b", 0, Path("x"), "", ""), "failed", None)
    Console(file=text, width=100).print(shown.table())
    drawn = text.getvalue()
    assert "▶ 50% train/loss 0.25" in drawn
    assert "✓ loss 0.5" in drawn
    assert "✗" in drawn
    assert "1 of 4 runs finished, 1 failed, about 3 min left" in drawn


def test_a_resumed_cell_does_not_count_as_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(board_module.time, "monotonic", lambda: now[0])
    shown, _ = board(terminal=True)
    shown.update(TASK, "running", Progress(90, 100, {}))
    assert shown.seconds_left() is None
    now[0] = 10.0
    shown.update(TASK, "running", Progress(95, 100, {}))
    assert shown.seconds_left() == pytest.approx(10 * 2.05 / 0.05)


def test_without_a_terminal_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, text = board(terminal=False, watch="val")
    with shown:
        shown.update(TASK, "running", None)
        shown.update(TASK, "running", Progress(1, 2, {"val": 3.0, "loss": 1.0}))
        shown.tick()
        monkeypatch.setattr(board_module, "QUIET_SECONDS", -1.0)
        shown.tick()
        shown.update(TASK, "finished", None)
    assert text.getvalue().splitlines()[0] == "▶ a, seed 0: running"
    assert "a 0 at 50% val 3" in text.getvalue().splitlines()[1]
    assert text.getvalue().splitlines()[2] == "✓ a, seed 0: finished val 3"


def test_plain_lines_say_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("omnigen2.runner.execute.progress.time.monotonic", lambda: now[0])
    said: list[str] = []
    lines = PlainLines(said.append)
    lines(Progress(10, 0, {}))
    now[0] = 10.0
    lines(Progress(20, 50, {"loss": 0.12345}))
    assert said == ["step 10", "step 20 of 50 · loss 0.1235 · 30 s left"]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (99, "99 s"), (100, "2 min"), (12000, "3 h 20 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
