"""Two processes that a launcher, or Lightning, starts: the first one decides, the other one follows, both end."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from omnigen2.cli import main
from omnigen2.files.text import read_json
from omnigen2.runner.keep import processes
from omnigen2.runner.keep.metrics import read_metrics
from omnigen2.runner.keep.resume import committed_checkpoint
from tests.runner import forked
from tests.runner.forked import Forked, torchrun
from tests.runner.recipes import PLAIN, write
from tests.runner.stage_recipes import PLAIN as STAGE
from tests.runner.stage_recipes import weights

TWO = {"trainer": {"devices": 2, "strategy": "ddp"}}
STAGES: dict[str, Any] = {
    "stages": {"a": {"recipe": STAGE}, "b": {"recipe": STAGE, "optimizer": "carried", "overrides": {"trainer": {}}}}
}


Run = Callable[..., str]


@pytest.fixture
def both(tmp_path: Path) -> Run:
    """Runs a command by two processes, as torchrun does, one of which comes a little later; returns what they said."""

    def run_both(late: int, *words: str, status: int = 0) -> str:
        with ExitStack() as stack:
            logs = [Path(mkdtemp(dir=tmp_path), "log") for _ in range(2)]
            pair: list[Forked] = []
            for rank, environment in sorted(enumerate(torchrun()), key=lambda one: one[0] == late):
                pair.append(stack.enter_context(forked.run(logs[rank], *words, **environment)))
                time.sleep(0.4 if len(pair) == 1 else 0.0)
            assert [process.wait() for process in pair] == [status, status], [process.said() for process in pair]
            return "".join(process.said() for process in pair)

    return run_both


def test_the_others_follow_what_the_first_one_decides(both: Run, tmp_path: Path) -> None:
    words = [str(write(tmp_path / "r.yaml", PLAIN, TWO)), "--out", str(tmp_path / "run")]
    four, two = "--trainer.max_steps=4", "--trainer.max_steps=2"
    both(0, *words, four)
    assert [row["step"] for row in read_metrics(tmp_path / "run") if "loss" in row] == [0, 1, 2, 3]
    for late in (0, 1):  # nobody waits for a training that does not come
        assert both(late, *words, four).count("is finished (4 steps)") == 1
    # the checkpoint that the other one finds if it does not wait is deleted
    assert both(0, *words, two, "--restart").count("starting over: deleted") == 1
    assert [row["step"] for row in read_metrics(tmp_path / "run") if "loss" in row] == [0, 1]
    assert (committed_checkpoint(tmp_path / "run") or Path()).name == "resume-00000002.ckpt"


def test_stages_by_two_processes(both: Run, tmp_path: Path) -> None:
    words = [str(write(tmp_path / "s.yaml", STAGES, TWO)), "--out", str(tmp_path / "run")]
    both(0, *words)
    first = weights(tmp_path / "run" / "b")
    assert both(1, *words).count("is finished") == 2
    for name in ("b/run.json", "report.json"):  # the report of a stage and of the whole were not written
        (tmp_path / "run" / name).unlink()
    both(0, *words)
    assert weights(tmp_path / "run" / "b") == first
    assert both(0, *words, "--restart").count("starting over") == 1
    assert weights(tmp_path / "run" / "b") == first


def test_a_study_is_refused_by_each_process(both: Run, tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", PLAIN)
    study = {"study": {"base": str(base), "seeds": [1], "rows": {"a": {}}}}
    said = both(0, str(write(tmp_path / "study.yaml", study)), "--out", str(tmp_path / "run"), status=2)
    assert said.count("a study starts the processes of its runs itself; start it once, without torchrun or srun") == 2
    assert not (tmp_path / "run").exists()


def test_another_number_of_processes_goes_on_with_the_same_numbers(
    both: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a module without chance, whose batches are the same for every process; that chance is lost is said."""
    recipe = str(write(tmp_path / "r.yaml", STAGE))
    run, whole = str(tmp_path / "run"), str(tmp_path / "whole")
    both(0, recipe, "--out", run, "--trainer.max_steps=2", "--trainer.devices=2", "--trainer.strategy=ddp")
    with pytest.warns(UserWarning, match="made by 2 processes, and now there are 1: its random states"):
        assert main(["run", recipe, "--out", run]) == 0
    assert "continues from step 2" in capsys.readouterr().out
    assert main(["run", recipe, "--out", whole]) == 0
    assert read_metrics(Path(run)) == read_metrics(Path(whole))
    assert weights(Path(run)) == weights(Path(whole))


def test_lightning_starts_the_other_process_of_stages(tmp_path: Path) -> None:
    recipe = write(tmp_path / "s.yaml", STAGES, TWO)
    with forked.run(tmp_path / "log", str(recipe), "--out", str(tmp_path / "run")) as running:
        assert running.wait() == 0, running.said()
        assert running.said().count("| stage | starts from |") == 1
    assert list((read_json(tmp_path / "run" / "report.json") or {})["stages"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SLURM_NTASKS": "2"}, "SLURM_NTASKS=2 asks for 2 processes, and this one was not started by srun"),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, "was not started by srun"),
        ({"SLURM_NTASKS": "two"}, "SLURM_NTASKS is 'two'"),
        ({"SLURM_NTASKS": "1"}, "SLURM_PROCID is no number"),
        (
            {"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", **dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID"), "0")}
            | {"SLURM_NODEID": "0"},
            "--ntasks-per-node=2",
        ),
    ],
)
def test_a_process_that_was_started_alone_does_not_wait_for_others(
    environment: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["run", str(write(tmp_path / "r.yaml", PLAIN)), "--out", str(tmp_path / "run")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_is_waited_for_is_said_after_a_while(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(processes, "SILENT_SECONDS", 0.01)
    monkeypatch.setattr(processes, "_store", lambda: time.sleep(0.3))
    monkeypatch.setattr(processes, "started_together", lambda: 2)
    processes.follow_the_first()
    assert "process 0 waits for the others of 2, at most 30 minutes" in capsys.readouterr().err
