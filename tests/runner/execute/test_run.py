"""A plain run: what it writes, what it says, and when it refuses."""

import json
import os
import warnings
from pathlib import Path

import pytest
import torch
import yaml

from omnigen2.cli import main
from omnigen2.runner.execute.run import quiet
from omnigen2.runner.keep.folder import LOCK, REMEDY, locked
from omnigen2.runner.keep.metrics import read_metrics
from omnigen2.runner.keep.resume import committed_checkpoint
from tests.runner.recipes import PARTS, PLAIN, write

RUN = Path("runs/plain")


@pytest.fixture(autouse=True)
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("plain.yaml"), PLAIN)


def files() -> dict[str, float]:
    found = [path for path in Path("runs").rglob("*") if path.is_file() and path.name != LOCK]
    return {str(path): path.stat().st_mtime_ns for path in found}


def test_a_run_writes_its_folder_and_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "plain.yaml", "--trainer.enable_progress_bar=true"]) == 0
    said = capsys.readouterr().out.splitlines()  # without a terminal progress is told in lines
    assert {"runs/plain: starts", "plain: step 0 of 6", "report: runs/plain/report.md"} <= set(said)
    assert any(line.startswith("plain: step 6 of 6 · loss ") for line in said)
    summary = json.loads((RUN / "run.json").read_text())
    assert (summary["status"], summary["steps"], summary["seed"]) == ("finished", 6, 3)
    assert summary["parameters"] == summary["trainable"] == 4 * 4 + 5
    assert summary["command"] == "lightning run plain.yaml --trainer.enable_progress_bar=true"
    assert set(summary["versions"]) == {"python", "torch", "lightning", "omnigen2"}
    rows = read_metrics(RUN)
    assert [row["step"] for row in rows if "loss" in row] == [0, 1, 2, 3, 4, 5]
    assert [row["step"] for row in rows if "val/error" in row] == [2, 5]
    assert summary["final"] == {"loss": rows[-2]["loss"], "val/error": rows[-1]["val/error"]}
    report = (RUN / "report.md").read_text()
    assert "| parameters | 21 (21 trainable) |" in report
    assert "lightning run plain.yaml" in report
    checkpoint = committed_checkpoint(RUN)
    assert checkpoint is not None
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 6

    before = files()
    assert main(["run", "plain.yaml", "--trainer.enable_progress_bar=true"]) == 0
    assert "runs/plain is finished (6 steps); --restart runs it again" in capsys.readouterr().out
    assert files() == before


def test_a_run_and_its_written_config_give_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "plain.yaml", "--vars.width=5"]) == 0
    assert main(["run", str(RUN / "config.yaml"), "--out", "again"]) == 0
    assert (RUN / "metrics.csv").read_bytes() == Path("again/metrics.csv").read_bytes()
    assert main(["run", "plain.yaml", "--vars.width=5", "--out", "other", "--seed_everything=4"]) == 0
    assert (RUN / "metrics.csv").read_bytes() != Path("other/metrics.csv").read_bytes()
    capsys.readouterr()
    assert main(["run", "plain.yaml", "--vars.width=5", "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load((RUN / "config.yaml").read_text())


def test_a_changed_recipe_is_refused_until_restart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "plain.yaml"]) == 0
    numbers = (RUN / "metrics.csv").read_bytes()
    assert main(["run", "plain.yaml", "--vars.lr=0.5"]) == 2
    message = capsys.readouterr().err.splitlines()
    assert message[0] == "error: runs/plain holds a run with other settings:"
    assert "  model.init_args.lr: 0.01, now 0.5" in message
    assert message[-1] == f"  {REMEDY}"
    assert (RUN / "metrics.csv").read_bytes() == numbers
    assert main(["run", "plain.yaml", "--vars.lr=0.5", "--restart"]) == 0
    assert "starting over: deleted checkpoints, config.yaml, metrics.csv, report.json" in capsys.readouterr().out
    assert (RUN / "metrics.csv").read_bytes() != numbers


def test_a_folder_in_use_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with locked(RUN):
        assert main(["run", "plain.yaml"]) == 2
    assert f"runs/plain is in use by process {os.getpid()} on " in capsys.readouterr().err


def test_a_folder_of_someone_else_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--out", "."], ["--out", ".", "--restart"]):
        assert main(["run", "plain.yaml", *words]) == 2
        assert "has files that no run has made" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["plain.yaml"]
    assert main(["run", "plain.yaml", "--out", "plain.yaml"]) == 2
    assert "plain.yaml is a file" in capsys.readouterr().err


def test_a_dry_run_describes_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "plain.yaml", "--dry_run", "--vars.width=8"]) == 0
    text = capsys.readouterr().out
    assert "| head | 32 | 32 |\n| body | 9 | 9 |\n| all | 41 | 41 |\n" in text
    assert "weights 164 B + gradients 164 B + AdamW 328 B = 656 B. Activations are not counted." in text
    assert "output would go to runs/plain/; nothing was trained or written" in text
    assert "width: 8" in text
    assert not Path("runs").exists()
    assert main(["run", "plain.yaml", "--dry_run", "--optimizer=torch.optim.SGD", "--optimizer.lr=0.1"]) == 0
    assert "SGD 0 B" in capsys.readouterr().out


def test_the_report_of_the_recipe_is_kept_and_its_checkpoints_stand_beside_ours() -> None:
    point = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"every_n_train_steps": 4}}
    write(Path("plain.yaml"), PLAIN, {"trainer": {"callbacks": [{"class_path": f"{PARTS}.OwnReport"}, point]}})
    assert main(["run", "plain.yaml"]) == 0
    assert (RUN / "report.md").read_text() == "my own words\n"
    assert not (RUN / "report.json").exists()
    assert (RUN / "run.json").exists()
    assert sorted(path.suffix for path in (RUN / "checkpoints").iterdir()) == [".ckpt", ".ckpt", ".json"]


@pytest.mark.parametrize("silent", [True, False])
def test_only_warnings_that_a_user_can_act_on_are_shown(silent: bool) -> None:
    of_no_use = (
        "You have overridden `transfer_batch_to_device` in `LightningModule` but have passed in a datamodule.",
        "The number of training batches (3) is smaller than the logging interval Trainer(log_every_n_steps=50).",
    )
    useful = "You have overridden `transfer_batch_to_device` in both `LightningModule` and `LightningDataModule`."
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        quiet(silent)
        for message in (*of_no_use, useful):
            warnings.warn(message, stacklevel=1)
    assert [str(warning.message) for warning in shown] == ([useful] if silent else [*of_no_use, useful])
