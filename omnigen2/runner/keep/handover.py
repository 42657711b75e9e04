"""What a run leaves for the next one: a folder of weights, and the state of its optimizer.

The runner asks every module that can (`HandsOver`) to save its weights at the end of training. A later run starts
from them by two plain settings, `model.init_args.weights` and `model.init_args.optimizer_state`; the stages of a
recipe set them, and so can anyone.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from omnigen2.runner.keep.folder import claim
from omnigen2.runner.keep.optimizer_file import save_optimizer

WEIGHTS = "weights"
"""Folder of the weights, inside of a run's folder; also the init arg that takes such a folder."""
OPTIMIZER = "optimizer.safetensors"
OPTIMIZER_ARGUMENT = "optimizer_state"


@runtime_checkable
class HandsOver(Protocol):
    """A LightningModule whose weights another run can start from.

    Such a module also takes the init arg `weights: str | None`, a folder that `save_weights` wrote, and, if it can go
    on with the state of an optimizer, `optimizer_state: str | None`, a file that `carry_on` and `read_optimizer` read.
    """

    def save_weights(self, folder: Path) -> None:
        """Write all that a following run starts from, as safetensors or JSON.

        Called on every process of a run, at the end of training, while the model is still on its devices.

        Args:
            folder: Exists, is empty on the first process's machine, and will be renamed.
        """
        ...


class WriteWeights(Callback):
    """Writes `weights/` at the end of training, all at once or not at all.

    It stands before the last checkpoint counts (`ResumePoint`), so a run that is killed in between writes it again.

    Args:
        folder: The folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the weights of a run in which there was nothing left to train."""
        if not trainer.strategy.broadcast((self.folder / WEIGHTS).is_dir()):
            self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, module: LightningModule) -> None:
        if not isinstance(module, HandsOver):
            return
        draft, target = self.folder / f".{WEIGHTS}.new", self.folder / WEIGHTS
        if trainer.is_global_zero:
            claim(self.folder)
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
        trainer.strategy.barrier("weights: folder")
        module.save_weights(draft)
        if len(trainer.optimizers) == 1:
            save_optimizer(trainer.optimizers[0], draft / OPTIMIZER)
        trainer.strategy.barrier("weights: written")
        if trainer.is_global_zero:
            if target.exists():
                shutil.rmtree(target)
            draft.rename(target)
        trainer.strategy.barrier("weights: renamed")


def from_its_weights(folder: Path) -> list[str]:
    """How another run starts from what a run has left, as lines of a remedy; none if it has left nothing."""
    weights = folder / WEIGHTS
    if not weights.is_dir():
        return []
    argument, path = ("adapter", weights / "adapter") if (weights / "adapter").is_dir() else (WEIGHTS, weights)
    return [f"--out FOLDER --model.init_args.{argument}={path} starts another run from what this one has learned"]


def fingerprint(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in the `weights/` that a run has left, by its path in there; empty if it left none."""
    found: dict[str, str] = {}
    for path in sorted((folder / WEIGHTS).rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder / WEIGHTS).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
