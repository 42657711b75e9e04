"""Validation and test of a run: the numbers of its own validations, and nothing in its folder is touched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from omnigen2.errors import UserError
from omnigen2.files import read_json
from omnigen2.runner.execute.check import check
from omnigen2.runner.keep.folder import LOCK
from omnigen2.runner.keep.metrics import read_metrics
from tests.runner.recipes import PLAIN, checkpoints_every, config_of, write
from tests.runner.runs import outcome, run_with
from tests.runner.stage_parts import Linear
from tests.runner.stops import Raise
from tests.runner.toy_parts import StepLoader

HERE = "tests.runner.execute.test_check"
BATCHES = [torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)) for seed in (7, 8)]
EMA: dict[str, Any] = {"class_path": "omnigen2.training.callbacks.EMA", "init_args": {"decay": 0.5}}
POINT: dict[str, Any] = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"save_last": True}}


class Measured(Linear):
    """Measures the same batches in validation and test, and notes at which step; it hands pictures to its loggers."""

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/error", self.error(batch))
        self.log("val/step", float(self.global_step))
        assert Path(self.trainer.log_dir or "").is_dir()

    def test_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.logger.experiment.add_image("batch", batch)  # type: ignore[union-attr]
        self.log("test/error", self.error(batch))

    def error(self, batch: Tensor) -> Tensor:
        return (self.linear(batch) - batch.sum(1, keepdim=True)).square().mean()


class Wrong(Measured):
    """Its test has a fault."""

    def test_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> None:
        raise ValueError("a fault of the code")


class Silent(Measured):
    """Its test logs nothing."""

    def test_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> None: ...


class Batches(LightningDataModule):
    """One loader for validation, two for the test."""

    def train_dataloader(self) -> Any:
        return StepLoader(lambda step: BATCHES[step], 2)

    def val_dataloader(self) -> Any:
        return DataLoader(BATCHES, batch_size=None)

    def test_dataloader(self) -> Any:
        return [DataLoader(BATCHES[:1], batch_size=None), DataLoader(BATCHES[1:], batch_size=None)]


class Alone(LightningDataModule):
    """Only for training: an empty list of loaders, and no loader at all."""

    def train_dataloader(self) -> Any:
        return StepLoader(lambda step: BATCHES[step], 2)

    def val_dataloader(self) -> Any:
        return []


def layer(model: str = "Measured", data: str = "Batches") -> dict[str, Any]:
    callbacks = [EMA, POINT, *checkpoints_every(1)["trainer"]["callbacks"]]
    trainer = PLAIN["trainer"] | {"callbacks": callbacks, "val_check_interval": 1.0}
    return {"model": {"class_path": f"{HERE}.{model}"}, "data": {"class_path": f"{HERE}.{data}"}, "trainer": trainer}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write(tmp_path / "recipe.yaml", {"seed_everything": 3}, layer())


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != LOCK]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_it_measures_what_the_last_validation_of_the_run_has_measured(recipe: Path, tmp_path: Path) -> None:
    config, folder, said = config_of(recipe), tmp_path / "run", list[str]()
    run_with(config, folder)
    before = contents(folder)
    last = [row for row in read_metrics(folder) if "val/error" in row][-1]
    result = check(config_of(recipe), folder, "validate", said.append)
    assert result["metrics"] == {"val/error": last["val/error"], "val/step": 6.0}  # of the averaged weights
    assert (result["checkpoint"], result["step"]) == ("resume-00000006.ckpt", 6)
    after = contents(folder)
    assert read_json(folder / "validate.json") == result
    del after["validate.json"]
    assert after == before
    assert said[0] == f"{folder}: validates resume-00000006.ckpt"
    assert f"| val/error | {last['val/error']:.6g} |" in said[1]
    assert said[2] == f"written: {folder / 'validate.json'}"


def test_a_test_of_several_loaders(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_with(config_of(recipe), folder)
    result = check(config_of(recipe), folder, "test", lambda line: None)
    assert set(result["metrics"]) == {"test/error/dataloader_idx_0", "test/error/dataloader_idx_1"}
    both = sum(result["metrics"].values()) / 2
    assert both == pytest.approx([row for row in read_metrics(folder) if "val/error" in row][-1]["val/error"])
    assert read_json(folder / "test.json") == result


def test_a_stopped_run_is_measured_and_goes_on_as_if_nothing_had_been(recipe: Path, tmp_path: Path) -> None:
    config = config_of(recipe)
    run_with(config, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="stopped"):
        run_with(config, tmp_path / "run", Raise(RuntimeError("stopped"), "on_train_batch_end", 4))
    assert check(config_of(recipe), tmp_path / "run", "validate", lambda line: None)["step"] == 3
    assert run_with(config, tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "which", "words"),
    [
        ({"model": {"class_path": "tests.runner.stage_parts.Linear"}}, "validate", "has no validation_step"),
        (layer(data="Alone"), "validate", r"no batches to validate\n.*val_dataloader\(\).*trainer.limit_val_batches"),
        (layer(data="Alone"), "test", "test_dataloader"),
        ({"trainer": {"limit_test_batches": 0}}, "test", "no batches to test\n.*trainer.limit_test_batches"),
    ],
)
def test_nothing_to_measure_is_told(change: dict[str, Any], which: Any, words: str, tmp_path: Path) -> None:
    config = config_of(write(tmp_path / "r.yaml", {"seed_everything": 3}, layer(), change))
    run_with(config, tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(UserError, match=rf"(?s){words}"):
        check(config, tmp_path / "run", which, lambda line: None)
    assert contents(tmp_path / "run") == before


def test_before_a_checkpoint_there_is_nothing_to_measure(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint in .*, so that there is nothing to test\n  train first"):
        check(config_of(recipe), tmp_path / "run", "test", lambda line: None)
    assert not (tmp_path / "run").exists()


def test_the_run_of_another_recipe_is_not_measured(recipe: Path, tmp_path: Path) -> None:
    run_with(config_of(recipe), tmp_path / "run")
    with pytest.raises(UserError, match="other settings"):
        check(config_of(recipe, "--model.init_args.lr=0.5"), tmp_path / "run", "test", lambda line: None)
    longer = config_of(recipe, "--trainer.max_steps=8")
    assert check(longer, tmp_path / "run", "test", lambda line: None)["step"] == 6


def test_a_fault_of_the_code_keeps_its_traceback_and_silence_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    run: Callable[[str], Any] = lambda model: config_of(  # noqa: E731
        write(tmp_path / f"{model}.yaml", {"seed_everything": 3}, layer(model))
    )
    for model in ("Wrong", "Silent"):
        run_with(run(model), tmp_path / model)
    with pytest.raises(ValueError, match="^a fault of the code$"):
        check(run("Wrong"), tmp_path / "Wrong", "test", said.append)
    assert check(run("Silent"), tmp_path / "Silent", "test", said.append)["metrics"] == {}
    assert "the model's test_step has logged nothing" in said
