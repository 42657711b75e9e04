"""Validation or test of what a run has learned so far: a table, and `validate.json` or `test.json` in its folder."""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger
from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.files import markdown_table, write_json
from omnigen2.runner import keep
from omnigen2.runner.execute.run import built, quiet, takes_more_steps
from omnigen2.runner.execute.troubles import Started, told
from omnigen2.runner.plan import Config
from omnigen2.runner.recipe import found_at

Which = Literal["validate", "test"]
STEPS: Mapping[Which, str] = {"validate": "validation_step", "test": "test_step"}
LOADERS: Mapping[Which, str] = {"validate": "val_dataloader", "test": "test_dataloader"}


def check(config: Config, folder: Path, which: Which, say: Callable[[str], None]) -> dict[str, Any]:
    """Validate or test the weights of a run's newest checkpoint, as its own validations do; nothing else is touched.

    Every process of those that train together calls it; the first one writes and speaks.

    Args:
        config: The checked recipe, with which the run was made.
        folder: The run's. It need not be finished.
        which: What to call of the model.
        say: Prints one line.

    Returns:
        What is written in `validate.json` or `test.json`: the checkpoint, its step, and the metrics by name.

    Raises:
        UserError: If nothing was trained yet, the recipe is another one, or it has nothing to validate or test.
    """
    if found_step(config, which) is getattr(LightningModule, STEPS[which]):
        raise UserError(
            f"{config.values['model']['class_path']} has no {STEPS[which]}, so that there is nothing to {which}",
            f"give the class a method {STEPS[which]}(self, batch, batch_idx), and its data a {LOADERS[which]}()",
        )
    if not keep.is_first():
        keep.follow_the_first()
        return _check(config, folder, _kept(folder, which), which)
    _kept(folder, which)  # before anything is written
    with keep.locked(folder, patience=2.0):
        takes_more_steps(folder, config)
        checkpoint = _kept(folder, which)
        keep.follow_the_first()
        say(f"{folder}: {'validates' if which == 'validate' else 'tests'} {checkpoint.name}")
        result = _check(config, folder, checkpoint, which)
        write_json(folder / f"{which}.json", result)
        rows = [[name, f"{value:.6g}"] for name, value in sorted(result["metrics"].items())]
        say(markdown_table(["metric", "value"], rows) if rows else f"the model's {STEPS[which]} has logged nothing")
        say(f"written: {folder / f'{which}.json'}")
    return result


def found_step(config: Config, which: Which) -> object:
    """The method of the recipe's class that does it; None of something that is no class."""
    return getattr(found_at(str(config.values["model"]["class_path"])), STEPS[which], None)


def _kept(folder: Path, which: Which) -> Path:
    checkpoint = keep.committed_checkpoint(folder)
    if checkpoint is None:
        raise UserError(
            f"there is no checkpoint in {folder}, so that there is nothing to {which}",
            f"train first: the same command without --{which} (to {which} another folder: --out=FOLDER)",
        )
    keep.check_whole(checkpoint)
    return checkpoint


def _check(config: Config, folder: Path, checkpoint: Path, which: Which) -> dict[str, Any]:
    quiet(True)
    position = _Position()
    trainer, model, data = built(config, folder, checkpoint, position, partial(_without_ours, folder))
    with told(folder, position), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`")  # ours are left out
        run = trainer.validate if which == "validate" else trainer.test
        found = run(model, datamodule=data, ckpt_path=checkpoint, weights_only=True, verbose=False)
    if not found:
        raise UserError(
            f"there are no batches to {which}",
            f"give the data a {LOADERS[which]}(), and look at trainer.limit_{LOADERS[which].split('_')[0]}_batches",
        )
    metrics = {name: float(value) for loader in found for name, value in loader.items()}
    return {"checkpoint": checkpoint.name, "step": trainer.global_step, "metrics": metrics}


class _Position(Started):
    """Puts the steps and epochs back too, which a module may ask for; Lightning does so for training alone."""

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        keep.set_position(trainer, checkpoint)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = True

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = True


class _Nowhere(DummyLogger):
    """Takes what a module hands to its logger, whatever it is, and writes nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @property
    @override
    def save_dir(self) -> str:
        return str(self.folder)


def _without_ours(folder: Path, callbacks: list[Callback], loggers: list[Logger]) -> dict[str, Any]:
    ours = (keep.ResumePoint, keep.SaveOnSignal)
    kept = [callback for callback in callbacks if not isinstance(callback, ours)]
    point = any(isinstance(callback, Checkpoint) for callback in kept)
    return {"logger": _Nowhere(folder), "callbacks": kept, "enable_checkpointing": point}
