"""A module, data and callbacks that know nothing of this library run in all forms of a recipe, as the README tells."""

import ast
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omnigen2.cli import main
from omnigen2.files import read_json
from omnigen2.runner import Options, launch
from omnigen2.runner.keep import read_metrics
from omnigen2.runner.plan import parse
from tests.runner import digit_parts
from tests.runner.keep.setups import HOOKS, fresh
from tests.runner.recipes import config_of, planned, write
from tests.runner.runs import outcome, run_with
from tests.runner.stops import Raise, Stopped

PARTS = "tests.runner.digit_parts"
LIGHTNING = "lightning.pytorch.callbacks"
CALLBACKS: list[dict[str, Any]] = [
    {"class_path": f"{LIGHTNING}.ModelCheckpoint", "init_args": {"monitor": "val_loss", "save_top_k": 2}},
    {
        "class_path": f"{LIGHTNING}.EarlyStopping",
        "init_args": {"monitor": "val_loss", "patience": 2, "min_delta": 0.12},
    },
    {"class_path": f"{LIGHTNING}.LearningRateMonitor"},
    {"class_path": f"{PARTS}.Counts"},
]
PLAIN: dict[str, Any] = {
    "trainer": {"accelerator": "cpu", "max_epochs": 4, "log_every_n_steps": 1, "logger": False},
    "model": {"class_path": f"{PARTS}.Classifier", "init_args": {"width": 8}},
    "data": {"class_path": f"{PARTS}.Digits"},
}
WITH_CALLBACKS = {"trainer": {"callbacks": CALLBACKS}}
RESUMABLE = {"model": {"class_path": f"{PARTS}.Resumable"}}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("mine.yaml"), PLAIN)


def best(folder: Path) -> list[str]:
    # Lightning gives the same checkpoint a second name, `…-v1`, if a stop came between it and ours.
    return sorted({re.sub(r"-v\d+(?=\.)", "", path.name) for path in (folder / "checkpoints").glob("epoch*")})


def test_the_parts_know_nothing_of_this_library() -> None:
    tree = ast.parse(Path(digit_parts.__file__).read_text())
    imported = {
        getattr(node, "module", None) or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported
    assert not [name for name in imported if name.startswith("omnigen2")]


def test_one_run_with_callbacks_and_its_validation_and_test(capsys: pytest.CaptureFixture[str]) -> None:
    recipe, folder = write(Path("all.yaml"), PLAIN, WITH_CALLBACKS), Path("runs/all")
    assert main(["run", str(recipe)]) == 0
    rows = read_metrics(folder)
    assert len([row for row in rows if "train_loss_step" in row]) == (read_json(folder / "run.json") or {})["steps"]
    assert {"train_loss_epoch", "val_accuracy", "lr-Adam", "batches_seen"} <= {name for row in rows for name in row}
    assert len(best(folder)) == 2
    for which in ("validate", "test"):
        assert launch(Options((recipe,), mode=which)) == 0
    validated, tested = read_json(folder / "validate.json"), read_json(folder / "test.json")
    last = [row for row in rows if "val_loss" in row][-1]
    assert validated is not None
    assert validated["metrics"] == {name: last[name] for name in ("val_loss", "val_accuracy")}
    assert set((tested or {})["metrics"]) == {"test_loss", "test_accuracy"}
    assert "| test_accuracy |" in capsys.readouterr().out
    assert read_metrics(folder) == rows


def test_stopped_and_gone_on_it_comes_to_the_same(tmp_path: Path) -> None:
    """Its loader has no state, so it goes on at the ends of epochs; the callbacks go on with what they knew."""
    config = config_of(write(tmp_path / "all.yaml", PLAIN, WITH_CALLBACKS))
    run_with(config, tmp_path / "whole")
    expected = outcome(tmp_path / "whole"), best(tmp_path / "whole")

    @settings(max_examples=6)
    @given(st.lists(st.tuples(st.sampled_from(HOOKS), st.integers(1, 12)), min_size=1, max_size=2))
    @example([("on_train_batch_end", 7), ("on_validation_end", 2)])
    @example([("on_train_end", 1)])
    def law(stops: list[tuple[str, int]]) -> None:
        folder = fresh()
        for hook, count in stops:
            with suppress(Stopped):
                run_with(config, folder, Raise(Stopped(), hook, count))
        assert run_with(config, folder) == 0
        assert (outcome(folder), best(folder)) == expected

    law()


def test_early_stopping_ends_a_run_once_and_for_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stop = CALLBACKS[1] | {"init_args": {"monitor": "val_loss", "patience": 1, "min_delta": 10.0}}
    write(tmp_path / "early.yaml", PLAIN, {"trainer": {"callbacks": [stop]}})
    assert main(["run", "early.yaml"]) == 0
    assert (read_json(Path("runs/early/run.json")) or {})["epochs"] == 2
    assert main(["run", "early.yaml"]) == 0
    assert "is finished (6 steps)" in capsys.readouterr().out


def test_stages_that_hand_weights_on_by_one_method(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("mine.yaml"), PLAIN, RESUMABLE, {"model": {"init_args": {"width": 8}}})
    stages = {"short": {"recipe": "mine.yaml"}, "long": {"recipe": "mine.yaml", "overrides": {"trainer.max_epochs": 2}}}
    write(Path("two.yaml"), {"stages": stages})
    assert main(["run", "two.yaml"]) == 0
    first, second = (read_metrics(Path("runs/two") / name) for name in ("short", "long"))
    before = [row["val_loss"] for row in first if "val_loss" in row]
    after = [row["val_loss"] for row in second if "val_loss" in row]
    assert after[0] < before[-1]  # it goes on to learn
    weights = torch.load("runs/two/short/weights/state.pt", weights_only=True)
    assert weights["layers.0.weight"].shape == (8, 64)
    assert launch(Options((Path("two.yaml"),), mode="test")) == 0
    assert capsys.readouterr().out.count("| test_accuracy |") == 2
    assert main(["run", "two.yaml"]) == 0


def test_a_study_of_it_ranks_what_it_has_logged(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {name: {"overrides": {"model.init_args.lr": rate}} for name, rate in (("slow", 0.001), ("fast", 0.01))}
    write(Path("study.yaml"), {"study": {"base": "mine.yaml", "seeds": [0, 1], "rows": rows}})
    assert main(["run", "study.yaml", "--executor=here"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("val_accuracy", "slow", "fast"))
    first = read_metrics(Path("runs/study/slow/seed_0")), read_metrics(Path("runs/study/slow/seed_1"))
    assert first[0] != first[1]
    assert main(["run", "mine.yaml", "--model.init_args.lr=0.001"]) == 0
    assert read_metrics(Path("runs/mine")) == first[0]


def test_each_run_of_a_process_has_its_own_hyperparameters(capsys: pytest.CaptureFixture[str]) -> None:
    """Lightning's command keeps those of the first module that it has built."""
    write(Path("mine.yaml"), PLAIN, {"model": {"class_path": f"{PARTS}.ByHand"}})
    rows = {name: {"overrides": {"model.init_args.lr": rate}} for name, rate in (("slow", 0.001), ("fast", 0.01))}
    write(Path("study.yaml"), {"study": {"base": "mine.yaml", "seeds": [0], "rows": rows}})
    assert main(["run", "study.yaml", "--executor=here"]) == 0
    rates = {name: read_metrics(Path(f"runs/study/{name}/seed_0"))[0]["rate"] for name in rows}
    assert rates == pytest.approx({"slow": 0.001, "fast": 0.01})
    assert main(["run", "mine.yaml"]) == 0
    said = capsys.readouterr().out
    assert "step 24 of 24" in said  # of two optimizers; nobody knew before how many there would be
    assert " of 12" not in said


def test_what_machines_a_single_run_is_to_have_is_not_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "mine.yaml", "--gpus=1"]) == 2
    assert "--gpus gives 1 GPUs to a run, and trainer.accelerator=cpu" in capsys.readouterr().err


def test_text_that_looks_like_a_number_stays_text() -> None:
    write(Path("mine.yaml"), PLAIN, {"model": {"class_path": f"{PARTS}.ByHand"}})
    row = {"title": "1e-3", "overrides": {"model.init_args.tag": "1e-5"}}
    study = {"study": {"base": "mine.yaml", "seeds": [0], "rows": {"1e3": row}}}
    Path("study.yaml").write_text(json.dumps(study))  # which has quotes
    made = planned()
    config = made.runs[0].config
    assert (made.rows[0].name, made.rows[0].title) == ("1e3", "1e-3")
    assert config.values["model"]["init_args"]["tag"] == "1e-5"
    assert parse([f"--config={config.text}"]).values == config.values
    Path("study.yaml").write_text(made.text)
    assert planned().text == made.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"class_path": f"{PARTS}.Untrained"}}, "training_step"),
        ({"model": {"class_path": f"{PARTS}.Clasifier"}}, "Clasifier"),
        ({"model": {"init_args": {"widht": 3}}}, "widht"),
        ({"model": {"init_args": {"width": "wide"}}}, "width"),
        ({"data": {"class_path": f"{PARTS}.Classifier"}}, "Classifier"),
        ({"trainer": {"callbacks": [{"class_path": "LearningRateMonitr"}]}}, "LearningRateMonitr"),
        ({"data": None}, "train_dataloader"),
    ],
)
def test_what_is_wrong_with_it_is_told(changes: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("wrong.yaml"), PLAIN, changes)
    assert main(["run", "wrong.yaml"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
