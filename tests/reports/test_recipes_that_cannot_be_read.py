"""A recipe was wrong in a way that nobody had thought of, and the command ended with a traceback of some library.

Whatever is wrong is told with the key, and with the file and line or the option that it comes from.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import LightningModule

from omnigen2.cli import main
from omnigen2.errors import UserError
from omnigen2.files import read_json
from omnigen2.runner.keep import read_metrics
from omnigen2.runner.plan import RunResult
from omnigen2.runner.reports.study import common_metrics
from tests.fuzz.recipes import cases
from tests.runner.recipes import PLAIN, write


class Half(LightningModule):
    """Leaves to others how it learns."""

    def learns(self) -> None:
        raise NotImplementedError

    learns.__isabstractmethod__ = True  # type: ignore[attr-defined]


Half.__abstractmethods__ = frozenset({"learns"})
POINT = {"class_path": "omnigen2.runner.keep.ResumePoint"}
OTHER = {"optimizer": {"class_path": "torch.optim.SGD"}}
STOPS = {"class_path": "lightning.pytorch.callbacks.EarlyStopping"}
LAYERS: dict[str, tuple[Any, str]] = {
    "vars that are no names": ({"vars": 1}, "layer.yaml: vars is 1, expected names with values"),
    "a class that is a number": ({"model": {"class_path": 1}}, "layer.yaml: model.class_path is 1, expected the"),
    "arguments that are a number": ({"model": {"init_args": 3}}, "layer.yaml: model.init_args is 3, expected names"),
    "a callback twice": ({"trainer": {"callbacks": [POINT, POINT]}}, "more than one stateful callback of type `Resume"),
    "no class": ({"model": 5}, "model: expected a class: {class_path: NAME, init_args: {…}}, got 5\n  layer.yaml"),
    "no list of classes": ({"trainer": {"callbacks": [False]}}, "trainer.callbacks: expected a class"),
    "a class that lacks something": ({"trainer": {"callbacks": [STOPS]}}, "EarlyStopping (at trainer.callbacks) lacks"),
    "an abstract class": (
        {"model": {"class_path": f"{__name__}.Half", "init_args": None}},
        f"{__name__}.Half cannot be used as it is: it does not define learns",
    ),
    "a class of something else": (
        {"model": {"class_path": "omnigen2.rope_toy.ToyModule", "init_args": OTHER}},
        "known: omnigen2.training.parts.AdamWRecipe, omnigen2.training.parts.MuonAdamW",
    ),
    "a reference to itself": ({"vars": {"lr": "${vars.lr}"}}, "the reference"),
    "references in a circle": ({"vars": {"lr": "${vars.width}", "width": "${vars.lr}"}}, "leads back to itself"),
    "a reference to what holds it": ({"trainer": {"max_steps": "${trainer}"}}, "trainer.max_steps: the reference"),
    "a reference to nothing": ({"vars": {"lr": "${vars.nothing}"}}, "the reference ${vars.nothing} leads nowhere"),
    "a seed without a value": ({"seed_everything": None}, "seed_everything has no value"),
    "a date": ({"trainer": {"max_steps": "2024-01-31"}}, "trainer.max_steps: expected int, got 2024-01-31\n  layer.y"),
}  # fmt: skip
OPTIONS = {
    "--trainer.devices=": "trainer.devices is ''",
    "--trainer.logger=wandb": "name a class, such as --trainer.logger=WandbLogger",
    "--trainer.logger=WandbLogger": "pip install",
    "--trainer.logger=CSVLogger": "CSVLogger (at trainer.logger) lacks save_dir",
    "--model.init_args.lr=[0.1,0.2]": "write a study (`study:` with `rows`)",
    "--model.init_args.width=[3,4]": "on the command line: --model.init_args.width=[3,4]",
    "--model.init_args.lr=": "on the command line: --model.init_args.lr=",
    "--lr_scheduler=StepLR": "StepLR (at lr_scheduler) lacks step_size\n  write `init_args: {step_size: …}`",
}


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(Path("plain.yaml"), PLAIN)


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["run", *words]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_told_with_its_key_and_its_place(name: str, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer, words = LAYERS[name]
    write(Path("layer.yaml"), layer)
    assert words in told([str(plain), "layer.yaml", "--dry_run"], capsys)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_told_as_it_was_written(option: str, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert OPTIONS[option] in told([str(plain), option, "--dry_run"], capsys)


def test_a_module_that_does_not_import_is_no_traceback(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("unfinished.py").write_text("class Net(\n")
    assert "unfinished" in told([str(plain), "--model.class_path=unfinished.Net"], capsys)


def test_loggers_write_in_the_folder_of_the_run(plain: Path) -> None:
    options = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=numbers"]
    assert main(["run", str(plain), *options, "--out=here"]) == 0
    assert list(Path("here/numbers").rglob("metrics.csv"))
    assert sorted(path.name for path in Path().iterdir()) == ["here", "plain.yaml"]
    assert "lightning run plain.yaml --trainer.logger=CSVLogger" in Path("here/report.md").read_text()
    assert "--out=here" in Path("here/report.md").read_text()


def test_a_run_shorter_than_the_interval_of_its_loggers_has_a_loss_in_its_tables(plain: Path) -> None:
    quiet = ["--trainer.log_every_n_steps=50", "--trainer.limit_val_batches=0", "--trainer.val_check_interval=null"]
    assert main(["run", str(plain), *quiet]) == 0
    folder = Path("runs/plain")
    cell = RunResult("one", None, folder, read_metrics(folder), read_json(folder / "run.json") or {})
    assert common_metrics([cell, cell]) == ["loss"]
    ((step, loss),) = cell.curve("loss")
    assert step == 6
    assert f"| loss | {loss:.6g} |" in (folder / "report.md").read_text()


@pytest.mark.parametrize("seed", [1])
def test_broken_recipes_are_told(seed: int) -> None:
    for name, case in islice(cases(seed), 15):
        try:
            case()
        except (UserError, OSError):
            continue
        except Exception as error:
            raise AssertionError(f"seed {seed}, {name}") from error
