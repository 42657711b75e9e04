"""The machines that a recipe asks for, read from its settings: also where they are not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from omnigen2.errors import UserError

REPLICATED = ("auto", "ddp", "DDPStrategy", "SingleDeviceStrategy")
"""Strategies that keep everything whole on each device; also `ddp_…`."""
ON_ONE_CPU = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}
"""Arguments of a trainer that can be built anywhere, to look at a recipe."""


@dataclass(frozen=True)
class Cluster:
    """How many devices train, and how they share the model.

    Attributes:
        devices: All of them, at least 1.
        shards: So many devices share one copy of weights, gradients and optimizer states; 1 if each has its own, None
            if that is not known of the strategy.
        strategy: Its name.
        accelerator: As the recipe names it.
        precision: Likewise.
        counted_here: Whether the number of devices was left open, so that it is that of this machine.
    """

    devices: int
    shards: int | None
    strategy: str
    accelerator: str
    precision: str
    counted_here: bool

    @classmethod
    def of(cls, trainer: Mapping[str, Any]) -> "Cluster":
        """What the block `trainer` of a resolved recipe asks for."""
        accelerator = str(trainer.get("accelerator") or "auto")
        each, counted_here = _devices(trainer.get("devices"), accelerator)
        nodes = int(trainer.get("num_nodes") or 1)
        strategy = trainer.get("strategy") or "auto"
        named: Mapping[str, Any] = strategy if isinstance(strategy, dict) else {"class_path": str(strategy)}
        name = str(named["class_path"]).rpartition(".")[2]
        shards = _shards(name, named.get("init_args") or {}, each, nodes)
        precision = str(trainer.get("precision") or "32-true")
        return cls(each * nodes, shards, name, accelerator, precision, counted_here)

    @property
    def bytes_per_weight(self) -> int | None:
        """Bytes of a parameter where the precision decides that; None where parameters keep the type they have."""
        return {"bf16-true": 2, "16-true": 2, "64-true": 8, "64": 8}.get(self.precision)

    @property
    def words(self) -> str:
        """The devices in words."""
        count = "1 device" if self.devices == 1 else f"{self.devices:,} devices"
        return f"{count} (as many as this machine has)" if self.counted_here else count


def _devices(devices: Any, accelerator: str) -> tuple[int, bool]:
    """Devices of one machine, and whether they had to be counted here.

    Raises:
        UserError: If it is no number of devices.
    """
    if isinstance(devices, list):
        return len(devices), False
    text = str(devices)
    if "," in text:
        return len([part for part in text.split(",") if part.strip()]), False
    if devices not in (None, "auto") and not text.lstrip("-").isdecimal():
        raise UserError(f"trainer.devices is {text!r}", "write how many, a list of their numbers, or auto")
    if devices in (None, "auto") or text == "-1":
        return (1, False) if accelerator == "cpu" else (max(1, torch.cuda.device_count()), True)
    return int(text), False


def _shards(name: str, settings: Mapping[str, Any], each: int, nodes: int) -> int | None:
    if name in REPLICATED or name.startswith("ddp_"):
        return 1
    if name == "ModelParallelStrategy":  # what "auto" stands for is Lightning's
        data, tensor = (settings.get(key, "auto") for key in ("data_parallel_size", "tensor_parallel_size"))
        return (nodes if data == "auto" else int(data)) * (each if tensor == "auto" else int(tensor))
    if name in ("fsdp", "FSDPStrategy") and settings.get("sharding_strategy", "FULL_SHARD") == "FULL_SHARD":
        return each * nodes
    return None
