"""A run was finished, and could not be taken any further: more steps, its adapter, a new learning rate, other pictures.

The same command with a larger limit goes on from where the run ended, and comes to what it would have come to if all
steps had been asked for at once.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from omnigen2.cli import main
from omnigen2.runner.keep import (
    CarryError,
    ResumePoint,
    carry_on,
    committed_checkpoint,
    read_metrics,
    save_optimizer,
)
from omnigen2.training.callbacks import EMA
from tests.runner.recipes import PARTS, PLAIN, checkpoints_every, config_of, write
from tests.runner.runs import in_child, outcome, run_with
from tests.runner.toy_parts import Kill
from tests.training.grpo_parts import fit, grpo, same, weights

OF_THE_LENGTH = {"data": {"init_args": {"steps": "${trainer.max_steps}"}}}
EPOCHS = {"model": {"class_path": f"{PARTS}.EpochNet"}}
NO_VALIDATION = {"trainer": {"val_check_interval": None, "limit_val_batches": 0}}
CASES: dict[str, tuple[tuple[dict[str, Any], ...], str, int, int]] = {
    "an epoch longer than both": (({"data": {"init_args": {"steps": 30}}}, EPOCHS), "max_steps", 7, 11),
    "an epoch as long as the run": ((OF_THE_LENGTH, EPOCHS), "max_steps", 6, 13),
    "an epoch as long as the run, without validation": ((OF_THE_LENGTH, EPOCHS, NO_VALIDATION), "max_steps", 4, 6),
    "epochs that end with the run": (({"data": {"init_args": {"steps": 5}}}, EPOCHS), "max_steps", 5, 12),
    "whole epochs": (({"data": {"init_args": {"steps": 4}}, "trainer": {"max_steps": -1}}, EPOCHS), "max_epochs", 1, 3),
}


@pytest.mark.parametrize("name", CASES)
def test_a_longer_run_is_the_one_that_was_asked_for_at_once(name: str, tmp_path: Path) -> None:
    layers, limit, before, after = CASES[name]
    recipe = write(tmp_path / "recipe.yaml", PLAIN, *layers)
    at_once, first, whole = tmp_path / "at_once", tmp_path / "run", f"--trainer.{limit}={after}"
    run_with(config_of(recipe, whole), at_once)
    run_with(config_of(recipe, f"--trainer.{limit}={before}"), first)
    short = json.loads((first / "run.json").read_text())
    run_with(config_of(recipe, whole), first)
    assert outcome(first) == outcome(at_once)
    long, right = (json.loads((folder / "run.json").read_text()) for folder in (first, at_once))
    assert long["steps"] == right["steps"] > short["steps"]
    assert long["final"] == right["final"]
    assert "report.md" in {path.name for path in first.iterdir()}
    assert json.loads((first / "report.json").read_text())["steps"] == long["steps"]


@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_train_batch_end", "on_save_checkpoint"])
def test_a_longer_run_may_be_killed_like_any_other(hook: str, tmp_path: Path) -> None:
    recipe = write(tmp_path / "recipe.yaml", PLAIN, OF_THE_LENGTH, EPOCHS, checkpoints_every(2))
    long = config_of(recipe, "--trainer.max_steps=9")
    run_with(long, tmp_path / "at_once")
    run_with(config_of(recipe), tmp_path / "run")
    assert in_child(long, tmp_path / "run", Kill(hook, 1)) == 9
    run_with(long, tmp_path / "run")
    assert outcome(tmp_path / "run") == outcome(tmp_path / "at_once")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(Path("plain.yaml"), PLAIN)
    return tmp_path


def test_the_command_says_what_it_does_and_refuses_what_is_no_longer_the_same_run(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "plain.yaml"]) == 0
    capsys.readouterr()
    assert main(["run", "plain.yaml", "--trainer.max_steps=8"]) == 0
    assert "runs/plain: continues from step 6" in capsys.readouterr().out
    for options in (["--trainer.max_steps=9", "--vars.lr=0.5"], ["--trainer.max_steps=7"], ["--trainer.max_steps=-1"]):
        assert main(["run", "plain.yaml", *options]) == 2
        assert "holds a run with other settings" in capsys.readouterr().err
    assert main(["run", "plain.yaml", "--trainer.max_steps=8"]) == 0
    assert "is finished (8 steps)" in capsys.readouterr().out


def test_a_learning_rate_that_depends_on_the_length_is_not_bent(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("cosine.yaml"), PLAIN, {"model": {"class_path": f"{PARTS}.CosineNet"}})
    assert main(["run", "cosine.yaml"]) == 0
    files = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    for _ in range(2):
        assert main(["run", "cosine.yaml", "--trainer.max_steps=12"]) == 2
        words = capsys.readouterr().err
        assert "T_max was 6 and would be 12" in words
        assert "--restart" in words
    assert {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()} == files
    assert main(["run", "cosine.yaml"]) == 0
    assert "is finished (6 steps)" in capsys.readouterr().out


def test_stages_and_studies_take_more_steps(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    linear = {"model": {"class_path": "tests.runner.stage_parts.Linear"}, "trainer": PLAIN["trainer"]}
    linear |= {"data": {"class_path": "tests.runner.stage_parts.Steps"}}
    stages = {"stages": {name: {"recipe": linear, "overrides": {"trainer.max_steps": 3}} for name in ("one", "two")}}
    Path("stages.yaml").write_text(yaml.safe_dump(stages))
    assert main(["run", "stages.yaml"]) == 0
    assert main(["run", "stages.yaml", "--stages.one.trainer.max_steps=5"]) == 2
    assert "two was started from other weights than one will have after more steps" in capsys.readouterr().err
    assert main(["run", "stages.yaml", "--stages.two.trainer.max_steps=5"]) == 0
    assert len(read_metrics(Path("runs/stages/one"))) == 3
    found = json.loads(Path("runs/stages/report.json").read_text())["stages"]
    assert {name: stage["steps"] for name, stage in found.items()} == {"one": 3, "two": 5}
    study = {
        "study": {"base": linear, "seeds": [0], "rows": {"a": {}, "b": {"overrides": {"model.init_args.lr": 0.1}}}}
    }
    Path("study.yaml").write_text(yaml.safe_dump(study))
    assert main(["run", "study.yaml", "--executor=here", "--trainer.max_steps=3"]) == 0
    assert main(["run", "study.yaml", "--executor=here", "--trainer.max_steps=5"]) == 0
    long = {row: read_metrics(Path(f"runs/study/{row}/seed_0")) for row in ("a", "b")}
    assert main(["run", "study.yaml", "--executor=here", "--trainer.max_steps=5", "--out=at_once"]) == 0
    assert long == {row: read_metrics(Path(f"at_once/{row}/seed_0")) for row in ("a", "b")}


def test_an_optimizer_is_not_carried_on_to_parameters_of_other_shapes(tmp_path: Path) -> None:
    def adamw(*shape: int) -> torch.optim.AdamW:
        parameter = torch.nn.Parameter(torch.ones(shape))
        optimizer = torch.optim.AdamW([parameter], lr=0.1)
        parameter.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return optimizer

    source = adamw(2, 3)
    save_optimizer(source, tmp_path / "optimizer.safetensors")
    target = adamw(2, 3)
    target.state.clear()
    carry_on(target, tmp_path / "optimizer.safetensors")
    (before,), (after,) = source.state.values(), target.state.values()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(CarryError, match=r"parameter 0 has shape \(3, 2\), and the file's exp_avg \(2, 3\)"):
        carry_on(adamw(3, 2), tmp_path / "optimizer.safetensors")


def test_reinforcement_learning_goes_on_too(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    averages = EMA(0.5), EMA(0.5)
    whole = fit(grpo(kl=0.01), one, 6, averages[0], ResumePoint())
    fit(grpo(kl=0.01), two, 4, EMA(0.5), ResumePoint())
    again = fit(grpo(kl=0.01), two, 6, averages[1], ResumePoint(), checkpoint=committed_checkpoint(two), awake=False)
    assert same(weights(whole), weights(again))
    with averages[0].applied(whole), averages[1].applied(again):
        assert same(weights(whole), weights(again))
    rewards = [[row["reward/mean"] for row in read_metrics(folder) if "reward/mean" in row] for folder in (one, two)]
    assert rewards[0] == rewards[1]
    assert len(rewards[0]) == 3
