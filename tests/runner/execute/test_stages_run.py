"""Stages as runs: what they hand over, and that a stop at any place changes nothing."""

import importlib
import itertools
import json
import os
import shutil
import signal
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from omnigen2.cli import main
from omnigen2.files.text import read_json
from omnigen2.runner.keep import fingerprint, read_optimizer
from omnigen2.runner.keep.folder import claim, emptied
from omnigen2.runner.keep.metrics import read_metrics
from omnigen2.runner.recipe.recipe import Document
from tests.runner import stage_parts
from tests.runner.recipes import write
from tests.runner.stage_recipes import PARTS, PLAIN, RUNS, weights, write_stages


@pytest.fixture(autouse=True)
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_stages()


def killed(place: tuple[object, str], count: int, *words: str) -> bool:
    """Run the command in a forked process, which kills itself at the n-th call of a function."""
    child = os.fork()
    if child == 0:
        warnings.simplefilter("ignore")
        owner, name = place
        function, calls = getattr(owner, name), itertools.count(1)

        def deadly(*arguments: Any, **named: Any) -> Any:
            if next(calls) == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        setattr(owner, name, deadly)
        try:
            os._exit(main(["run", *words]))
        finally:  # or it would go on with the tests, as a second one
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status != 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """What the stages come to without a stop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        assert main(["run", str(write_stages())]) == 0
        return outcome(RUNS, "a", "b", "c")


def outcome(folder: Path, *stages: str) -> list[object]:
    return [(weights(folder / stage), (folder / stage / "metrics.csv").read_text()) for stage in stages]


def untrained(recipe: Document, name: str) -> Document:
    """A stage without a step: it hands over just what it started from."""
    return {name: {"recipe": recipe, "overrides": {"trainer.max_steps": 0}}}


def test_a_stage_starts_from_the_very_weights_of_the_one_before() -> None:
    write_stages({"a": {"recipe": PLAIN}} | untrained(PLAIN, "b"))
    assert main(["run", "stages.yaml"]) == 0
    assert weights(RUNS / "b") == weights(RUNS / "a")
    last = torch.load(RUNS / "a/checkpoints/resume-00000004.ckpt", weights_only=True)["state_dict"]
    assert {name: value.flatten().tolist() for name, value in last.items()} == weights(RUNS / "a")
    write_stages({"b": {"recipe": PLAIN, "overrides": {"trainer.max_steps": 0}}})
    assert main(["run", "stages.yaml", "--out", "fresh"]) == 0
    assert weights(Path("fresh/b")) != weights(RUNS / "a")


def test_two_stages_with_a_carried_optimizer_are_one_long_run() -> None:
    on = {"recipe": PLAIN, "overrides": {"data.init_args.first": 4, "trainer.max_steps": 3}}
    write_stages({"a": {"recipe": PLAIN}, "fresh": on, "carried": on | {"start": "a", "optimizer": "carried"}})
    assert main(["run", "stages.yaml"]) == 0
    assert main(["run", str(write(Path("whole.yaml"), PLAIN)), "--trainer.max_steps=7"]) == 0
    assert weights(RUNS / "carried") == weights(Path("runs/whole"))
    assert weights(RUNS / "fresh") != weights(Path("runs/whole"))
    state = read_optimizer(RUNS / "carried/weights/optimizer.safetensors")
    assert {int(entry["step"]) for entry in state["state"].values()} == {7}
    assert len(read_metrics(RUNS / "carried")) == 3


def test_the_folder_of_stages_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "stages.yaml", "--trainer.enable_progress_bar=true"]) == 0
    text = capsys.readouterr().out
    assert "✓ b: finished train/loss " in text
    assert "| stage | starts from | steps | minutes | bias | train/loss |" in text
    assert "report: runs/stages/report.md" in text
    data, last = json.loads((RUNS / "report.json").read_text()), json.loads((RUNS / "c/run.json").read_text())
    assert [(name, stage["steps"]) for name, stage in data["stages"].items()] == [("a", 4), ("b", 3), ("c", 4)]
    assert data["stages"]["c"] == last | {"start": "a"}
    assert "weights: runs/stages/a/weights" in (RUNS / "b/config.yaml").read_text()
    assert read_json(RUNS / "c/start.json") == {"a": fingerprint(RUNS / "a")}
    assert set(fingerprint(RUNS / "a")) == {"linear.pt", "optimizer.safetensors"}
    assert not (RUNS / "a/start.json").exists()
    before = {path: path.stat().st_mtime_ns for path in RUNS.rglob("run.json")}
    assert main(["run", str(RUNS / "config.yaml"), "--out", str(RUNS)]) == 0
    assert "runs/stages/b is finished (3 steps)" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_later_stage_may_change_until_it_has_started_and_the_report_class_is_the_recipes() -> None:
    write_stages({"a": {"recipe": PLAIN}})
    assert main(["run", "stages.yaml"]) == 0
    time_of_a = (RUNS / "a/run.json").stat().st_mtime_ns
    report = {"class_path": f"{PARTS}.Names", "init_args": {"title": "the"}}
    write_stages({"a": {"recipe": PLAIN}} | untrained(PLAIN, "b") | untrained(PLAIN, "c"), report=report)
    assert main(["run", "stages.yaml"]) == 0
    assert (RUNS / "report.md").read_text() == "the: a, b, c\n"
    assert (RUNS / "a/run.json").stat().st_mtime_ns == time_of_a
    assert weights(RUNS / "c") == weights(RUNS / "a")


def test_a_changed_stage_is_refused_until_restart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "stages.yaml"]) == 0
    numbers = (RUNS / "a/metrics.csv").read_text()
    capsys.readouterr()
    assert main(["run", "stages.yaml", "--stages.a.model.init_args.lr=0.5"]) == 2
    message = capsys.readouterr().err
    assert "a has changed since it was run: runs/stages/a holds a run with other settings:\n" in message
    assert "\n  model.init_args.lr: 0.01, now 0.5\n" in message
    assert "--restart" in message
    assert (RUNS / "a/metrics.csv").read_text() == numbers
    assert main(["run", "stages.yaml", "--stages.c.model.init_args.lr=0.5"]) == 2
    assert main(["run", "stages.yaml", "--stages.a.model.init_args.lr=0.5", "--restart"]) == 0
    assert "starting over: deleted a, b, c, config.yaml, loss.png, report.json" in capsys.readouterr().out
    assert (RUNS / "a/metrics.csv").read_text() != numbers


def test_old_results_are_not_kept_beside_new_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "stages.yaml"]) == 0
    emptied(RUNS / "a")
    assert main(["run", "stages.yaml"]) == 0, "the same weights again are no other weights"
    emptied(RUNS / "a")
    again = write(Path("again.yaml"), {"stages": {"a": {"overrides": {"model.init_args.lr": 0.5}}}})
    capsys.readouterr()
    for _ in range(2):  # right after the first stage, and before anything
        assert main(["run", "stages.yaml", str(again)]) == 2
        message = capsys.readouterr().err
        assert "stage b in runs/stages/b was started from other weights than a has now" in message
        assert "delete runs/stages/b, runs/stages/c to train again" in message
    for stage in ("b", "c"):
        (RUNS / stage).rename(f"old_{stage}")
    assert main(["run", "stages.yaml", str(again)]) == 0


def test_stages_go_on_in_another_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "stages.yaml"]) == 0
    RUNS.rename("moved")
    for out in ("moved", str(Path("moved").absolute())):
        capsys.readouterr()
        assert main(["run", "stages.yaml", f"--out={out}"]) == 0
        assert "b is finished (3 steps)" in capsys.readouterr().out
        assert f"weights: {out}/a/weights" in Path("moved/b/config.yaml").read_text()
    emptied(Path("moved/a"))
    assert main(["run", "stages.yaml", "--out=moved", "--stages.a.model.init_args.lr=0.5"]) == 2
    assert "was started from other weights than a has now" in capsys.readouterr().err


def test_weights_of_a_like_name_elsewhere_are_no_start(capsys: pytest.CaptureFixture[str]) -> None:
    write_stages({"a": {"recipe": PLAIN, "overrides": {"model.init_args.lr": 0.5}}})
    assert main(["run", "stages.yaml", "--out=other"]) == 0
    own = {"start": "nothing", "overrides": {"model.init_args.weights": "other/a/weights"}}
    write_stages({"a": {"recipe": PLAIN}, "b": {"recipe": PLAIN} | own})
    assert main(["run", "stages.yaml"]) == 0
    write_stages({"a": {"recipe": PLAIN}, "b": {"recipe": PLAIN}})
    assert main(["run", "stages.yaml"]) == 2
    assert "weights: 'other/a/weights', now 'runs/stages/a/weights'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["study.yaml", "stages.yaml"])
def test_a_folder_of_an_older_version_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    claim(RUNS)
    (RUNS / name).touch()
    assert main(["run", "stages.yaml"]) == 2
    assert f"runs/stages was made by an older version of the runner ({name})\n  --restart" in capsys.readouterr().err


def test_a_run_that_leaves_no_weights_is_known_by_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    net = {"recipe": PLAIN, "overrides": {"model": "tests.runner.toy_parts.Net", "data.class_path": f"{PARTS}.Steps"}}
    note = {"recipe": PLAIN, "start": "nothing", "overrides": {"model.init_args.note": "@net/metrics.csv"}}
    write_stages({"net": net, "b": note})
    assert main(["run", "stages.yaml"]) == 0
    assert not (RUNS / "net/weights").exists()
    assert "weights" not in json.loads((RUNS / "net/run.json").read_text())
    started = read_json(RUNS / "b/start.json") or {}
    assert set(started["net"]) == {"run.json"}
    (RUNS / "net/run.json").write_text((RUNS / "net/run.json").read_text() + "\n")
    assert main(["run", "stages.yaml"]) == 2
    assert "other weights than net has now" in capsys.readouterr().err


def test_a_state_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    two = {"recipe": PLAIN, "overrides": {"model": f"{PARTS}.TwoOptimizers"}}
    write_stages({"a": two, "b": {"recipe": PLAIN, "optimizer": "carried"}})
    assert main(["run", "stages.yaml"]) == 2
    message = capsys.readouterr().err
    assert (
        "stage b needs @a/weights/optimizer.safetensors, but its stage is finished and there is no runs/stages/a"
        in message
    )
    assert "exactly one" in message
    assert set(fingerprint(RUNS / "a")) == {"linear.pt"}


RUN, EXECUTE = (importlib.import_module(f"omnigen2.runner.execute.{name}") for name in ("run", "execute"))
PLACES: list[tuple[tuple[object, str], int]] = [
    ((stage_parts.Linear, "training_step"), 6),  # the second step of the second stage
    ((stage_parts.Linear, "save_weights"), 2),
    ((EXECUTE, "write_json"), 1),  # before the second stage says what it starts from
    ((RUN, "write_json"), 2),  # all of the second stage is done, but it does not count yet
]


@pytest.mark.parametrize(("place", "count"), PLACES)
def test_stages_killed_anywhere_go_on_as_if_nothing_had_happened(
    place: tuple[object, str], count: int, whole: list[object]
) -> None:
    assert killed(place, count, "stages.yaml")
    assert not (RUNS / "b/run.json").exists()
    assert main(["run", "stages.yaml"]) == 0
    assert outcome(RUNS, "a", "b", "c") == whole
    assert not list(RUNS.rglob(".weights.new"))


def test_a_run_killed_while_it_saves_leaves_no_half_folder() -> None:
    write_stages({"a": {"recipe": PLAIN, "overrides": {"trainer.max_steps": 1}}})
    assert killed((Path, "rename"), 1, "stages.yaml")
    assert {path.name for path in (RUNS / "a/.weights.new").iterdir()} == {"linear.pt", "optimizer.safetensors"}
    assert not (RUNS / "a/weights").exists()
    assert not (RUNS / "a/run.json").exists()
    assert main(["run", "stages.yaml"]) == 0
    assert set(fingerprint(RUNS / "a")) == {"linear.pt", "optimizer.safetensors"}


def test_weights_that_were_lost_after_the_last_checkpoint_are_written_again() -> None:
    write(Path("plain.yaml"), PLAIN)
    assert main(["run", "plain.yaml"]) == 0
    kept = weights(Path("runs/plain"))
    shutil.rmtree("runs/plain/weights")
    Path("runs/plain/run.json").unlink()
    assert main(["run", "plain.yaml"]) == 0
    assert weights(Path("runs/plain")) == kept
