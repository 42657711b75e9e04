"""A job: how it ends, where its words go, and what is left to be known about it."""

import os
import runpy
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.errors import UserError
from omnigen2.files import read_json
from omnigen2.runner.execute import worker
from omnigen2.runner.execute.run import Output
from omnigen2.runner.execute.worker import Job, job_of, work
from omnigen2.runner.keep import claim, locked
from omnigen2.runner.plan import as_yaml
from omnigen2.runner.recipe import merged
from tests.runner.recipes import PARTS, PLAIN, checkpoints_every


@contextmanager
def plain_prints() -> Generator[None]:
    """Let prints take the way that they take outside of pytest."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as files:
        for number, name in ((1, "stdout"), (2, "stderr")):
            patch.setattr(sys, name, files.enter_context(open(number, "w", buffering=1, closefd=False)))
        yield


def worked(one: Job) -> int:
    with plain_prints():
        return work(one)


def job(folder: Path, *layers: dict[str, Any], **settings: Any) -> Job:
    claim(folder)
    return Job(str(folder), as_yaml(merged([PLAIN, *layers])), "lightning run study.yaml", **settings)


def log(folder: Path) -> str:
    return (folder / "log.txt").read_text()


def test_a_job_is_finished_and_finds_itself_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one = job(tmp_path / "one", {"trainer": {"enable_progress_bar": True}})
    assert worked(one) == 0
    assert log(tmp_path / "one").startswith(f"{one.folder}: starts\n")
    summary, progress = (read_json(tmp_path / "one" / name) or {} for name in ("run.json", "progress.json"))
    assert (progress["step"], progress["steps"]) == (6, 6)
    assert progress["metrics"]["loss"] == summary["final"]["loss"]
    assert summary["command"] == "lightning run study.yaml"
    assert worked(one) == 0
    assert f"{one.folder} is finished (6 steps)" in log(tmp_path / "one")
    assert capfd.readouterr() == ("", "")


def test_a_refused_job(tmp_path: Path) -> None:
    assert worked(job(tmp_path / "one", {"model": {"init_args": {"width": "wide"}}})) == 2
    words = log(tmp_path / "one")
    assert words.startswith("error: ")
    assert "expected int, got wide" in words
    assert "Traceback" not in words


def test_a_job_that_crashes(tmp_path: Path) -> None:
    assert worked(job(tmp_path / "one", {"model": {"class_path": f"{PARTS}.Broken"}})) == 1
    words = log(tmp_path / "one")
    assert words.index("about to break") < words.index("Traceback") < words.index("RuntimeError: the toy broke")


def test_a_signal_ends_a_job_that_goes_on_later(tmp_path: Path) -> None:
    stop = {"class_path": f"{PARTS}.Send", "init_args": {"number": 15, "hook": "on_train_batch_end", "count": 2}}
    point = checkpoints_every(0)["trainer"]["callbacks"]
    one = job(tmp_path / "one", {"trainer": {"callbacks": [*point, stop]}})
    assert worked(one) == 128 + 15
    assert (read_json(tmp_path / "one/checkpoints/resume.json") or {})["step"] == 2
    assert worked(one) == 128 + 15, "the same settings, so the same stop two steps later"
    assert f"{one.folder}: continues from step 2\n" in log(tmp_path / "one")


@pytest.mark.parametrize(
    ("end", "code"), [(SystemExit(7), 7), (SystemExit("with words"), 1), (KeyboardInterrupt(), None)]
)
def test_words_come_back_however_it_ends(
    end: BaseException, code: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def ends(*arguments: Any) -> None:
        os.write(1, b"of the job\n")
        raise end

    monkeypatch.setattr(worker, "run", ends)
    if code is None:
        with pytest.raises(KeyboardInterrupt):
            worked(job(tmp_path / "one"))
    else:
        assert worked(job(tmp_path / "one")) == code
    os.write(1, b"ours\n")
    os.write(2, b"ours too\n")
    assert capfd.readouterr() == ("ours\n", "ours too\n")
    assert log(tmp_path / "one") == "of the job\n"


def test_words_of_an_earlier_start_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(config: Any, folder: Path, command: str, output: Output) -> None:
        output.say(command)

    monkeypatch.setattr(worker, "run", run)
    for _ in range(2):
        assert worked(job(tmp_path / "one")) == 0
    assert log(tmp_path / "one") == 2 * "lightning run study.yaml\n"


def test_a_folder_that_another_command_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patiences: list[float] = []

    def impatient(folder: Path, patience: float) -> Any:
        patiences.append(patience)
        return locked(folder)

    monkeypatch.setattr(worker, "locked", impatient)
    one = job(tmp_path / "one")
    with locked(tmp_path / "one"):
        assert worked(one) == 2
    assert f"error: {one.folder} is in use by process {os.getpid()}" in log(tmp_path / "one")
    assert not (tmp_path / "one/progress.json").exists()
    assert patiences[0] > 0, "what a killed command has left needs a moment to end"


def test_what_a_job_may_use_and_how_often_it_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[int, float]] = []

    def run(config: Any, folder: Path, command: str, output: Output) -> None:
        found.append((torch.get_num_threads(), output.seconds))

    monkeypatch.setattr(worker, "run", run)
    before = torch.get_num_threads()
    try:
        for threads in (3, None):
            assert worked(job(tmp_path / "one", threads=threads, every=4.0)) == 0
    finally:
        torch.set_num_threads(before)
    assert found == [(3, 4.0), (3, 4.0)]
    assert read_json(tmp_path / "one/progress.json") == {"step": 0, "steps": 0, "metrics": {}}


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    few, seconds = st.integers(0, 2**40), st.floats(0, 1e9)

    @settings(max_examples=50)
    @given(st.builds(Job, st.just(str(tmp_path)), TEXT, TEXT, st.none() | few, few, few, few, seconds))
    def law(one: Job) -> None:
        one.write()
        assert job_of(tmp_path) == one

    law()


def test_a_folder_without_a_job(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no job\.json\n  start runs with `lightning run RECIPE`"):
        job_of(tmp_path)


def test_the_command_does_the_job_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["worker", str(tmp_path / "one")])
    for layer, code in (({}, 0), ({"model": {"class_path": f"{PARTS}.Broken"}, "seed_everything": None}, 2)):
        job(tmp_path / "one", layer).write()
        with plain_prints(), pytest.raises(SystemExit) as stop:
            runpy.run_module("omnigen2.runner.execute", run_name="__main__")
        assert stop.value.code == code
    assert log(tmp_path / "one").startswith(f"{tmp_path / 'one'}: starts\n")
