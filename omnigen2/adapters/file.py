"""Files of LoRA adapters in the layouts of diffusers and PEFT, by the names of the released model."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never

from safetensors import safe_open
from torch import Tensor

from omnigen2.errors import UserError
from omnigen2.files import read_json, read_weights, save_tensors, write_json

AdapterLayout: TypeAlias = Literal["diffusers", "peft"]

FILES: dict[AdapterLayout, str] = {
    "diffusers": "pytorch_lora_weights.safetensors",
    "peft": "adapter_model.safetensors",
}
PREFIXES: dict[AdapterLayout, str] = {"diffusers": "transformer.", "peft": "base_model.model."}
METADATA = "lora_adapter_metadata"
CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Pair:
    """The matrices of one adapted layer, shapes (rank, inputs) and (outputs, rank), and the factor on `up @ down`."""

    down: Tensor
    up: Tensor
    scaling: float

    @property
    def rank(self) -> int:
        """Rows of `down`."""
        return self.down.shape[0]


def read_lora(path: str | Path) -> dict[str, Pair]:
    """Read an adapter, by the released layer names.

    Args:
        path: A folder in the layout of diffusers or PEFT, or its file of weights.

    Raises:
        UserError: If the file is no LoRA adapter.
    """
    file = _file(Path(path))
    tensors, config = read_weights(file), _read_config(file)
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        plain = key.replace(".default.", ".")
        layer, _, half = plain.removesuffix(".weight").rpartition(".")
        for prefix in PREFIXES.values():
            layer = layer.removeprefix(prefix)
        if half not in ("lora_A", "lora_B"):
            raise UserError(
                f"{file} has the key {key}", "expected a LoRA adapter: keys end in lora_A.weight or lora_B.weight"
            )
        halves.setdefault(layer, {})[half] = tensor
    for layer, pair in halves.items():
        if len(pair) < 2:
            raise UserError(f"{file} has only {next(iter(pair))} of {layer}", "is the file whole?")
    return {
        layer: Pair(pair["lora_A"], pair["lora_B"], _scaling(layer, pair["lora_A"].shape[0], config))
        for layer, pair in halves.items()
    }


def write_lora(pairs: Mapping[str, Pair], directory: str | Path, layout: AdapterLayout) -> Path:
    """Write an adapter, at least one pair by the released layer names; returns the file of weights."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    prefix, config, metadata = PREFIXES[layout], _config(pairs), {"format": "pt"}
    match layout:
        case "diffusers":
            metadata[METADATA] = json.dumps({f"{prefix}{key}": value for key, value in config.items()}, sort_keys=True)
        case "peft":
            write_json(directory / CONFIG, {"peft_type": "LORA", **config})
        case _:
            assert_never(layout)
    tensors = {f"{prefix}{key}.lora_A.weight": pair.down for key, pair in pairs.items()}
    tensors |= {f"{prefix}{key}.lora_B.weight": pair.up for key, pair in pairs.items()}
    path = directory / FILES[layout]
    save_tensors(tensors, path, metadata)
    return path


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    for name in (*FILES.values(), "adapter_model.bin"):
        if (path / name).is_file():
            return path / name
    there = f"has neither {' nor '.join(FILES.values())}" if path.exists() else "does not exist"
    raise UserError(f"{path} {there}", "give an adapter's folder or file")


def _read_config(file: Path) -> dict[str, Any]:
    config = read_json(file.with_name(CONFIG))
    if config is None and file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as opened:
            text: str = (opened.metadata() or {}).get(METADATA, "{}")
        content: dict[str, Any] = json.loads(text)
        config = {key.removeprefix(PREFIXES["diffusers"]): value for key, value in content.items()}
    if config and config.get("use_dora"):
        raise UserError(f"{file} is a DoRA adapter", "plain LoRA adapters are supported")
    return config or {}


def _scaling(layer: str, rank: int, config: Mapping[str, Any]) -> float:
    """Factor on the product; alpha is the rank where nothing is said, as in diffusers."""
    alphas: dict[str, float] = config.get("alpha_pattern") or {}
    alpha = next((value for end, value in alphas.items() if f".{layer}".endswith(f".{end}")), None)
    alpha = config.get("lora_alpha", rank) if alpha is None else alpha
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _config(pairs: Mapping[str, Pair]) -> dict[str, Any]:
    """The keys of PEFT's configuration that say what the tensors do not."""
    ranks = {layer: pair.rank for layer, pair in pairs.items()}
    alphas = {layer: pair.scaling * pair.rank for layer, pair in pairs.items()}
    rank, alpha = (Counter(values.values()).most_common(1)[0][0] for values in (ranks, alphas))
    return {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {layer: value for layer, value in ranks.items() if value != rank},
        "alpha_pattern": {layer: value for layer, value in alphas.items() if value != alpha},
        "target_modules": sorted(pairs),
    }
