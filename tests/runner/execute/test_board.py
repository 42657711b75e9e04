"""What is shown while a plan runs."""

import io
from pathlib import Path

import pytest
from jsonargparse import Namespace
from rich.console import Console

from omnigen2.runner.execute import board as board_module
from omnigen2.runner.execute.board import Board, duration
from omnigen2.runner.execute.progress import Progress
from omnigen2.runner.plan import Config, Plan, Row, Run


def run(name: str) -> Run:
    return Run(name, Path(name), Config({}, Namespace()))


A0, A1, B0, B1, B1_FIRST = map(run, ("a/seed_0", "a/seed_1", "b/seed_0", "b/seed_1/last", "b/seed_1/first"))
STUDY = Plan(
    "study",
    Path("x"),
    "lightning run study.yaml",
    (Row("a", "The A", {}), Row("b", "b", {})),
    (0, 1),
    {("a", 0): {"a": A0}, ("b", 0): {"b": B0}, ("a", 1): {"a": A1}, ("b", 1): {"first": B1_FIRST, "last": B1}},
    {},
)
ONE = Plan("one", Path("x"), "", (Row("one", "one", {}),), (None,), {("one", None): {"one": A0}}, {})


def board(terminal: bool, plan: Plan = STUDY) -> tuple[Board, io.StringIO]:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, color_system=None)
    return Board(plan, {B1_FIRST: {"loss": 0.5}} if plan is STUDY else {}, console), text


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [0.0]
    monkeypatch.setattr(board_module.time, "monotonic", lambda: clock[0])
    return clock


def test_the_table_shows_states_progress_and_the_time_left(now: list[float]) -> None:
    shown, text = board(terminal=True)
    shown.update(A0, "running", Progress(0, 100, {}))
    now[0] = 60.0
    shown.update(A0, "running", Progress(50, 100, {"acc": 1.0, "train/loss": 0.25}))
    assert shown.seconds_left() == 60.0 * 3.5 / 0.5
    shown.update(B0, "failed", None)
    Console(file=text, width=100).print(shown.table())
    drawn = text.getvalue()
    assert "▶ 50% train/loss 0.25" in drawn
    assert "· 2/2" in drawn
    assert "✗" in drawn
    assert "1 of 5 runs finished, 1 failed, about 5 min left" in drawn
    shown.update(B1, "finished", Progress(3, 3, {"loss": 0.25}))
    Console(file=text, width=100).print(shown.table())
    assert "✓ loss 0.25" in text.getvalue()


def test_one_run_has_a_bar_with_its_steps_and_metrics(now: list[float]) -> None:
    shown, text = board(terminal=True, plan=ONE)
    now[0] = 10.0
    with shown:
        shown.update(A0, "running", Progress(25, 100, {"loss": 0.125, "acc": 1.0}))
    line = next(line for line in text.getvalue().splitlines() if "25/100" in line)
    assert "━" in line
    assert "acc 1 · loss 0.125" in line


def test_a_resumed_run_does_not_count_as_fast(now: list[float]) -> None:
    shown, _ = board(terminal=True)
    shown.update(A0, "running", Progress(90, 100, {}))
    assert shown.seconds_left() is None
    now[0] = 10.0
    shown.update(A0, "running", Progress(95, 100, {}))
    assert shown.seconds_left() == pytest.approx(10 * 3.05 / 0.05)


def test_without_a_terminal_there_are_lines(now: list[float]) -> None:
    shown, text = board(terminal=False)
    with shown:
        shown.update(A0, "running")
        shown.update(A0, "running", Progress(1, 2, {"val": 3.0, "loss": 1.0}))
        shown.tick()
        now[0] = 11.0
        shown.tick()
        shown.update(A0, "finished")
    lines = text.getvalue().splitlines()
    assert lines[0] == "▶ a/seed_0: running"
    assert lines[1] == "1 of 5 runs finished"
    assert lines[2] == "a/seed_0: step 1 of 2 · loss 1 · val 3"
    assert lines[3] == "✓ a/seed_0: finished loss 1"


def test_one_run_says_how_long(now: list[float]) -> None:
    shown, text = board(terminal=False, plan=ONE)
    shown.update(A0, "running", Progress(10, 50, {}))
    now[0] = 11.0
    shown.update(A0, "running", Progress(20, 50, {"loss": 0.12345}))
    assert text.getvalue() == "a/seed_0: step 10 of 50\na/seed_0: step 20 of 50 · loss 0.1235 · 33 s left\n"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (99, "99 s"), (100, "2 min"), (12000, "3 h 20 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
