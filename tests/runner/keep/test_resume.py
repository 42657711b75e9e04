"""A run that is ended at any moment and continued gives the same numbers and weights, bit for bit."""

import math
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omnigen2.errors import UserError
from omnigen2.files import read_json, write_json
from omnigen2.runner.keep import read_metrics, read_summary
from omnigen2.runner.keep.pointer import roll_back
from omnigen2.runner.keep.resume import ResumePoint
from omnigen2.runner.keep.state import random_states, set_random_states
from omnigen2.runner.plan import parse
from tests.runner.keep.setups import HOOKS, Setup, config_of, fresh, setups, whole
from tests.runner.recipes import PARTS, write
from tests.runner.runs import in_child, outcome, run_with
from tests.runner.stops import Lines, Raise, Stopped
from tests.runner.toy_parts import Kill

Stop = tuple[str, int]
LINES = 2500
"""About so many lines of the runner's code a run of a toy passes."""
LONG = Setup(100, 17, every=2, validation=3, across=True, gathers=False)
SHUFFLED = Setup(5, -1, 3, every=0, kind="shuffled", gathers=False)
ACCUMULATED = Setup(5, -1, 3, every=None, validation=0, accumulate=2, gathers=False)
stops: st.SearchStrategy[Stop] = st.tuples(st.sampled_from(HOOKS), st.integers(1, 12)) | st.tuples(
    st.just("line"), st.integers(1, LINES)
)


def ended(setup: Setup, folder: Path, stop: Stop) -> None:
    """Run until a hook is called so often, or so many lines are passed, or to the end."""
    hook, count = stop
    try:
        if hook == "line":
            with Lines(count).watched():
                run_with(config_of(setup), folder)
        else:
            run_with(config_of(setup), folder, Raise(Stopped(), hook, count))
    except Stopped:
        pass


@settings(max_examples=8)
@given(setup=setups(), stops=st.lists(stops, min_size=1, max_size=3))
@example(setup=LONG, stops=[("on_train_batch_start", 8), ("line", 700)])
@example(setup=SHUFFLED, stops=[("on_train_batch_start", 6), ("on_train_epoch_end", 1)])
@example(setup=ACCUMULATED, stops=[("on_before_optimizer_step", 1)])  # in the middle of the first accumulated step
@example(setup=Setup(8, -1, 2, validation=4), stops=[("on_train_batch_start", 11), ("on_train_batch_start", 5)])
@example(setup=Setup(7, 16, every=0, validation=3), stops=[("on_train_epoch_end", 1), ("on_train_batch_start", 4)])
@example(setup=Setup(7, 16, every=3, kind="several"), stops=[("on_train_batch_start", 6)])
def test_stopped_and_continued_equals_uninterrupted(setup: Setup, stops: list[Stop]) -> None:
    expected, folder = whole(setup), fresh()
    for stop in stops:
        ended(setup, folder, stop)
    assert run_with(config_of(setup), folder) == 0
    assert outcome(folder) == expected
    shutil.rmtree(folder)


def test_every_line_of_a_save_may_be_the_last_one() -> None:
    """From before the second checkpoint to after the third one, which stands at the end of an epoch."""
    setup = Setup(3, 4, every=1, validation=0)
    expected = whole(setup)
    with (lines := Lines()).watched():
        run_with(config_of(setup), fresh())
    for last in range(lines.passed // 3, 2 * lines.passed // 3, 53):
        folder = fresh()
        ended(setup, folder, ("line", last))
        assert run_with(config_of(setup), folder) == 0
        assert outcome(folder) == expected, f"line {last}"


def test_killed_and_continued_equals_uninterrupted(tmp_path: Path) -> None:
    """What no exception can show: nothing is put in order, and drafts of files stay."""
    setup = Setup(8, -1, 2, every=3, validation=4)
    expected = whole(setup)
    for kill in (Kill("on_save_checkpoint", 2), Kill("on_train_batch_start", 9)):
        assert in_child(config_of(setup), tmp_path, kill) == 9
    (tmp_path / "checkpoints" / ".resume.json.new").write_text('{"checkp')
    assert in_child(config_of(setup), tmp_path, None) == 0
    assert outcome(tmp_path) == expected


def test_what_an_epoch_has_gathered_before_a_stop_keeps_its_name(tmp_path: Path) -> None:
    layers = (*Setup(4, 4, every=1, validation=0).layers, {"model": {"class_path": f"{PARTS}.RareNet"}})
    config = parse([f"--config={write(tmp_path / 'recipe.yaml', *layers)}"])
    run_with(config, tmp_path / "whole")
    with pytest.raises(Stopped):
        run_with(config, tmp_path / "run", Raise(Stopped(), "on_train_batch_start", 3))
    run_with(config, tmp_path / "run")
    whole, run = ([row for row in read_metrics(tmp_path / name) if "rare_epoch" in row] for name in ("whole", "run"))
    assert len(whole) == 1
    assert whole == run


def test_rows_after_the_last_checkpoint_and_half_written_files_are_dropped(tmp_path: Path) -> None:
    ended(LONG, tmp_path, ("on_train_batch_end", 8))
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 1 + 7 + 2
    (tmp_path / "checkpoints" / "resume-00000099.ckpt").write_bytes(b"half")
    checkpoint, step = roll_back(tmp_path) or (None, None)
    assert step == 6
    assert checkpoint == tmp_path / "checkpoints" / "resume-00000006.ckpt"
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 1 + 6 + 2
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["resume-00000006.ckpt", "resume.json"]


def test_a_run_without_a_checkpoint_starts_from_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss\n0,1.0\n")
    assert roll_back(tmp_path) is None
    assert not (tmp_path / "metrics.csv").exists()


def test_all_random_states_are_restored_from_a_safe_file(tmp_path: Path) -> None:
    np.random.randn()  # leaves half of a pair behind
    torch.save(random_states(), tmp_path / "states.pt")
    drawn = (torch.rand(3).tolist(), np.random.randn(3).tolist())
    python = random.getstate()
    states = torch.load(tmp_path / "states.pt", weights_only=True)
    set_random_states(states)
    assert (torch.rand(3).tolist(), np.random.randn(3).tolist()) == drawn
    states["python"] = random_states()["python"]
    random.setstate(python)
    set_random_states(states)
    first = random.random()
    set_random_states(states)
    assert random.random() == first


@pytest.mark.parametrize("arguments", [(-1, 1), (0, 0)])
def test_wrong_intervals_are_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"got {arguments[0]} and {arguments[1]}"):
        ResumePoint(*arguments)


RARELY = Setup(3, 2, every=1, validation=0)


@pytest.mark.parametrize("setup", [LONG, RARELY], ids=["long", "shorter than the interval of its loggers"])
def test_what_only_lacks_its_summary_says_the_same_again(setup: Setup, tmp_path: Path) -> None:
    interval = {"trainer": {"log_every_n_steps": 50}} if setup is RARELY else {}
    config, folder = parse([f"--config={write(tmp_path / 'recipe.yaml', *setup.layers, interval)}"]), tmp_path / "run"
    run_with(config, folder)
    whole_summary = read_json(folder / "run.json") or {}
    for name in ("run.json", "report.md", "report.json"):
        (folder / name).unlink()
    run_with(config, folder)
    assert whole_summary["epochs"] >= 1
    assert "loss" in whole_summary["final"]
    assert (read_json(folder / "run.json") or {}) | {"seconds": 0} == whole_summary | {"seconds": 0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"final": None}, "run.json has final null, expected an object"),
        ({"final": {"loss": "low"}}, 'run.json, final, has loss "low", expected a number'),
        ({"steps": "4"}, 'run.json has steps "4", expected a whole number of at least 0'),
    ],
)
def test_a_damaged_summary_is_told(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"steps": 4, "seconds": 1.0, "final": {"loss": math.nan}} | change)
    with pytest.raises(UserError, match="delete the file; the same command writes it again") as told:
        read_summary(tmp_path)
    assert words in str(told.value)
