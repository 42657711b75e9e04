"""The state of an optimizer as a file: whole tensors in safetensors, everything else as JSON beside them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from omnigen2.errors import UserError
from omnigen2.files import save_tensors
from omnigen2.shards import is_first_process, sharded_like

KEY = "optimizer"
"""Of the metadata that hold the groups and the numbers."""


class CarryError(UserError):
    """The state of an optimizer cannot be read, or is of other parameters."""


def save_optimizer(optimizer: Optimizer, file: Path) -> None:
    """Write the `state_dict()` of an optimizer. If it is sharded, every process must call it; the first one writes."""
    state = _whole(optimizer.state_dict())
    if not is_first_process():
        return
    entries = {f"{number}.{name}": value for number, part in state["state"].items() for name, value in part.items()}
    tensors = {name: value.clone() for name, value in entries.items() if isinstance(value, Tensor)}
    values = {name: value for name, value in entries.items() if name not in tensors}
    groups = [{name: _plain(value) for name, value in group.items()} for group in state["param_groups"]]
    save_tensors(tensors, file, {KEY: json.dumps({"param_groups": groups, "values": values})})


def read_optimizer(file: str | Path) -> dict[str, Any]:
    """The `state_dict()` that `save_optimizer` wrote, on the CPU.

    Raises:
        CarryError: If there is no such file, or it holds something else.
    """
    file = Path(file)
    if not file.is_file():
        raise CarryError(f"there is no file {file}", "give the weights/optimizer.safetensors of a finished run")
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
            rest: Any = json.loads((opened.metadata() or {}).get(KEY, "null"))
    except (SafetensorError, ValueError) as error:
        raise CarryError(f"{file} cannot be read: {error}", "is the file whole?") from error
    if not isinstance(rest, dict) or not {"param_groups", "values"} <= set(rest):
        raise CarryError(f"{file} holds no state of an optimizer", "give the weights/optimizer.safetensors of a run")
    state: dict[int, dict[str, Any]] = {}
    for entry, value in [*tensors.items(), *rest["values"].items()]:
        number, _, name = entry.partition(".")
        state.setdefault(int(number), {})[name] = value
    return {"state": dict(sorted(state.items())), "param_groups": rest["param_groups"]}


def carry_on(optimizer: Optimizer, file: str | Path) -> None:
    """Go on with what another run's optimizer has gathered, at the settings of this one.

    Args:
        optimizer: Just made; its parameters may be sharded. Learning rates, betas and decay stay its own.
        file: The other run's `weights/optimizer.safetensors`.

    Raises:
        CarryError: If the file is of an optimizer with other parameters.
    """
    state = read_optimizer(file)
    parameters: list[Tensor] = [one for group in optimizer.param_groups for one in group["params"]]
    sizes = [len(group["params"]) for group in state["param_groups"]]
    remedy = "train the same parameters as before, or start with a fresh optimizer (`optimizer: fresh`)"
    if sizes != [len(group["params"]) for group in optimizer.param_groups]:
        raise CarryError(
            f"{file} is of an optimizer with {sum(sizes)} parameters, and this one trains {len(parameters)}", remedy
        )
    for number, entry in state["state"].items():
        for name, value in entry.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != parameters[number].shape:
                raise CarryError(
                    f"{file} is of other parameters: parameter {number} has shape {tuple(parameters[number].shape)}, "
                    f"and the file's {name} {tuple(value.shape)}",
                    remedy,
                )

    def placed(value: Any, like: Tensor) -> Any:
        return sharded_like(value, like) if isinstance(value, Tensor) and value.shape == like.shape else value

    state["state"] = {
        number: {name: placed(value, parameters[number]) for name, value in entry.items()}
        for number, entry in state["state"].items()
    }
    own = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.pop("initial_lr", None)  # a schedule takes its peak from there
        group.update(settings)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value


def _whole(value: Any) -> Any:
    """The same state with every tensor whole and on the CPU; of sharded tensors all processes bring their shard."""
    if isinstance(value, torch.Tensor):
        return (value.full_tensor() if isinstance(value, DTensor) else value).detach().cpu()
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_whole, value))
    return value
