"""What a run leaves for the next one: a folder of weights, and the state of its optimizer.

The runner asks every module that can (`HandsOver`) to save its weights at the end of training. A later run starts
from them by two plain settings, `model.init_args.weights` and `model.init_args.optimizer_state`; the stages of a
recipe set them, and so can anyone.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.runner.keep.folder import claim
from omnigen2.shards import sharded_like

WEIGHTS = "weights"
"""Folder of the weights, inside of a run's folder; also the init arg that takes such a folder."""
OPTIMIZER = "optimizer.pt"
OPTIMIZER_ARGUMENT = "optimizer_state"


class CarryError(UserError):
    """The state of an optimizer is of other parameters."""


@runtime_checkable
class HandsOver(Protocol):
    """A LightningModule whose weights another run can start from.

    Such a module also takes the init arg `weights: str | None`, a folder that `save_weights` wrote, and, if it can go
    on with the state of an optimizer, `optimizer_state: str | None`, a file that `torch.load` reads with
    `weights_only=True`: the `state_dict()` of the one optimizer, with whole tensors on the CPU.
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
            state = _whole(trainer.optimizers[0].state_dict())
            if trainer.is_global_zero:
                torch.save(state, draft / OPTIMIZER)
        trainer.strategy.barrier("weights: written")
        if trainer.is_global_zero:
            if target.exists():
                shutil.rmtree(target)
            draft.rename(target)
        trainer.strategy.barrier("weights: renamed")


def carry_on(optimizer: Optimizer, file: str | Path) -> None:
    """Go on with what another run's optimizer has gathered, at the settings of this one.

    Args:
        optimizer: Just made; its parameters may be sharded. Learning rates, betas and decay stay its own.
        file: The other run's `weights/optimizer.pt`.

    Raises:
        CarryError: If the file is of an optimizer with other parameters.
    """
    state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
    parameters: list[torch.Tensor] = [one for group in optimizer.param_groups for one in group["params"]]
    if (given := sum(len(group["params"]) for group in state["param_groups"])) != len(parameters):
        raise CarryError(
            f"{file} is of an optimizer with {given} parameters, and this one trains {len(parameters)}; train the same "
            "parameters as before, or start with a fresh optimizer (`optimizer: fresh`)"
        )

    def placed(value: Any, like: torch.Tensor) -> Any:
        return sharded_like(value, like) if isinstance(value, torch.Tensor) and value.shape == like.shape else value

    state["state"] = {
        number: {name: placed(value, parameters[number]) for name, value in entry.items()}
        for number, entry in state["state"].items()
    }
    own = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.pop("initial_lr", None)  # a schedule takes its peak from there
        group.update(settings)


def fingerprint(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in the `weights/` that a run has left, by its path in there; empty if it left none."""
    found: dict[str, str] = {}
    for path in sorted((folder / WEIGHTS).rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder / WEIGHTS).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _whole(value: Any) -> Any:
    """The same state with every tensor whole and on the CPU; of sharded tensors all processes bring their shard."""
    if isinstance(value, torch.Tensor):
        return (value.full_tensor() if isinstance(value, DTensor) else value).detach().cpu()
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_whole, value))
    return value
