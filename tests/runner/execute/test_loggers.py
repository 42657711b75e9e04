"""Loggers of Lightning in a recipe stand beside ours: in the folder of the run, with every step, also after a stop."""

import csv
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from omnigen2.runner.keep import read_metrics
from tests.runner import toy_parts
from tests.runner.recipes import PLAIN, checkpoints_every, config_of, write
from tests.runner.runs import outcome, run_with
from tests.runner.stops import Raise, Stopped

LOGGERS = "lightning.pytorch.loggers"
CSV = {"class_path": f"{LOGGERS}.CSVLogger", "init_args": {"save_dir": "csv", "name": "mine"}}
BOARD = {
    "class_path": f"{LOGGERS}.TensorBoardLogger",
    "init_args": {"save_dir": "board", "name": "mine", "version": ""},
}
WANDB = {"class_path": f"{LOGGERS}.WandbLogger", "init_args": {"save_dir": "w", "offline": True, "id": "mine"}}


class Net(toy_parts.Net):
    """Says what its settings are."""

    def __init__(self, width: int = 4, lr: float = 0.01) -> None:
        super().__init__(width, lr)
        self.save_hyperparameters()


def stopped_and_gone_on(folder: Path, *loggers: dict[str, Any], after: Callable[[], Any] = lambda: None) -> Path:
    """Run to the end, and a second time with a stop in the fourth step; return where the second one is."""
    layer = {"trainer": PLAIN["trainer"] | {"logger": list(loggers)}, "model": {"class_path": f"{__name__}.Net"}}
    config = config_of(write(folder / "recipe.yaml", PLAIN, layer, checkpoints_every(2)))
    run_with(config, folder / "whole")
    after()
    with pytest.raises(Stopped):
        run_with(config, folder / "run", Raise(Stopped(), "on_train_batch_end", 4))
    after()
    run_with(config, folder / "run")
    after()
    assert outcome(folder / "run") == outcome(folder / "whole")
    outside = {path.name for path in folder.iterdir()} - {"run", "whole", "recipe.yaml"}
    assert not outside
    return folder / "run"


def test_lightnings_own_csv(tmp_path: Path) -> None:
    """It begins another version after a stop; together they have every step."""
    folder = stopped_and_gone_on(tmp_path, CSV)
    versions = sorted((folder / "csv" / "mine").iterdir())
    assert [version.name for version in versions] == ["version_0", "version_1"]
    steps = [
        [int(row["step"]) for row in csv.DictReader((version / "metrics.csv").open()) if row["loss"]]
        for version in versions
    ]
    assert steps[1] == [2, 3, 4, 5]
    assert steps[0] == list(range(len(steps[0])))
    assert "width: 4" in (versions[1] / "hparams.yaml").read_text()
    losses = [row["loss"] for row in read_metrics(folder) if "loss" in row]
    theirs = [float(row["loss"]) for row in csv.DictReader((versions[1] / "metrics.csv").open()) if row["loss"]]
    assert theirs == losses[2:]


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not installed")
def test_tensorboard(tmp_path: Path) -> None:
    """Steps that are taken again are written again, by the same values: its files cannot be cut back."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # pyright: ignore

    folder = stopped_and_gone_on(tmp_path, BOARD, CSV)
    events: Any = EventAccumulator(str(folder / "board" / "mine"))
    events.Reload()
    found = {event.step: event.value for event in events.Scalars("loss")}
    ours = {int(row["step"]): row["loss"] for row in read_metrics(folder) if "loss" in row}
    assert found == pytest.approx(ours)
    assert {event.step for event in events.Scalars("val/error")} == {2, 5}


@pytest.mark.skipif(find_spec("wandb") is None, reason="W&B is not installed")
def test_weights_and_biases_offline(tmp_path: Path) -> None:
    """Each process is one run of theirs, so the stop ends it here."""
    import wandb  # pyright: ignore[reportMissingImports]

    folder = stopped_and_gone_on(tmp_path, WANDB, after=wandb.finish)
    assert len(list((folder / "w" / "wandb").glob("offline-run-*"))) >= 1
