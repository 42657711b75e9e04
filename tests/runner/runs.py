"""Runs configurations in this process or in a forked one, with more callbacks, and says what came of it."""

import os
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from omnigen2.runner.execute.run import Output, run
from omnigen2.runner.keep import committed_checkpoint, is_first, locked
from omnigen2.runner.plan.config import Config
from tests.runner.recipes import PARTS, checkpoints_every

SILENT = Output(say=lambda line: None)
Layers = tuple[dict[str, Any], ...]


def layers(every: int | None, steps: int, model: str = "Net", kind: str = "steps", **trainer: Any) -> Layers:
    """Layers over the plain recipe: steps between checkpoints (None for the recipe's), of an epoch, and settings."""
    data = {"init_args": {"steps": steps, "kind": kind}}
    layer = {"trainer": trainer, "model": {"class_path": f"{PARTS}.{model}"}, "data": data}
    return (layer,) if every is None else (layer, checkpoints_every(every))


def run_with(config: Config, folder: Path, *extra: Callback) -> int:
    """Run here; return the exit status."""
    with pytest.MonkeyPatch.context() as patch:
        build = Config.build
        patch.setattr(
            Config,
            "build",
            lambda own, arguments, place: build(
                own, lambda callbacks, loggers: arguments([*callbacks, *extra], loggers), place
            ),
        )
        try:
            with locked(folder) if is_first() else nullcontext():
                run(config, folder, "a command", SILENT)
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


def in_child(config: Config, folder: Path, kill: Callback | None) -> int:
    """Run in a forked process, and return how it ended: 0, or 9 for killed."""
    child = os.fork()
    if child == 0:
        warnings.simplefilter("ignore")
        try:
            run_with(config, folder, *([] if kill is None else [kill]))
        except BaseException as error:
            print(repr(error))
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def outcome(folder: Path) -> tuple[str, dict[str, bytes]]:
    """The metrics of a run, and the bytes of its weights."""
    checkpoint = committed_checkpoint(folder)
    assert checkpoint is not None
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    return (folder / "metrics.csv").read_text(), {name: value.numpy().tobytes() for name, value in weights.items()}
