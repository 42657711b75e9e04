"""Files of LoRA adapters in the layouts of many programs, by the names of the released model."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never

import torch
from torch import Tensor

from omnigen2.adapters.config import CONFIG, METADATA, AdapterConfig, read_config
from omnigen2.adapters.names import Half, part_of, with_dots
from omnigen2.errors import UserError
from omnigen2.files import read_weights, save_tensors, write_json

AdapterLayout: TypeAlias = Literal["diffusers", "peft", "comfyui"]

FILES: dict[AdapterLayout, str] = {
    "diffusers": "pytorch_lora_weights.safetensors",
    "peft": "adapter_model.safetensors",
    "comfyui": "comfyui_lora.safetensors",
}
PEFT_STEM = Path(FILES["peft"]).stem
PREFIXES: dict[AdapterLayout, str] = {
    "diffusers": "transformer.",
    "peft": "base_model.model.",
    "comfyui": "diffusion_model.",
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""Of matrices; others need a scale that no plain LoRA file has."""


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


def read_lora(path: str | Path, layers: Collection[str] = ()) -> dict[str, Pair]:
    """Read an adapter in any dialect, by the released layer names.

    Args:
        path: A folder in the layout of diffusers, PEFT or ComfyUI, or a file of weights.
        layers: Released names of the layers that there are: names in which dots have become underscores
            (`lora_unet_layers_0_attn_to_q`) are looked up among them.

    Raises:
        UserError: If the file is no plain LoRA adapter, or not whole, or says of itself what is not understood.
    """
    file = _file(Path(path))
    named: dict[str, dict[Half, tuple[str, Tensor]]] = {}
    for key, tensor in read_weights(file).items():
        part = part_of(key, file)
        if part.underscored and not layers:
            raise UserError(f"{file} writes {part.layer}, with underscores for dots", "give the names of the layers")
        layer = with_dots(part.layer, layers) if part.underscored else part.layer
        if layer is None:
            raise UserError(f"{file} adapts {part.layer}, which the transformer lacks", "it belongs to another model")
        halves = named.setdefault(layer, {})
        if part.half in halves:
            raise UserError(
                f"{file} gives {layer} twice, as {halves[part.half][0]} and as {key}", "remove one of the two"
            )
        _check_tensor(file, key, part.half, tensor)
        halves[part.half] = (key, tensor)
    if not named:
        raise UserError(f"{file} has no LoRA layers", "is it the right file?")
    config = read_config(file)
    if config == AdapterConfig() and file.stem == PEFT_STEM:
        _check_alone(file, named.values())
    return {layer: _pair(file, layer, halves, config) for layer, halves in named.items()}


def write_lora(pairs: Mapping[str, Pair], directory: str | Path, layout: AdapterLayout) -> Path:
    """Write an adapter, at least one pair by the released layer names; returns the file of weights."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    prefix, config, metadata = PREFIXES[layout], _config(pairs), {"format": "pt"}
    tensors = {f"{prefix}{key}.lora_A.weight": pair.down for key, pair in pairs.items()}
    tensors |= {f"{prefix}{key}.lora_B.weight": pair.up for key, pair in pairs.items()}
    match layout:
        case "diffusers":
            metadata[METADATA] = json.dumps({f"{prefix}{key}": value for key, value in config.items()}, sort_keys=True)
        case "peft":
            write_json(directory / CONFIG, {"peft_type": "LORA", **config})
        case "comfyui":
            alphas = {key: torch.tensor(pair.scaling * pair.rank, dtype=torch.float64) for key, pair in pairs.items()}
            tensors |= {f"{prefix}{key}.alpha": alpha for key, alpha in alphas.items()}
        case _:
            assert_never(layout)
    path = directory / FILES[layout]
    save_tensors(tensors, path, metadata)
    return path


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    names = (*FILES.values(), "adapter_model.bin")
    there = [path / name for name in names if (path / name).is_file()]
    if not there:
        problem = f"has neither {' nor '.join(FILES.values())}" if path.exists() else "does not exist"
        raise UserError(f"{path} {problem}", "give an adapter's folder or file")
    if len(there) > 1:
        raise UserError(f"{path} has {' and '.join(file.name for file in there)}", "give the file that is meant")
    return there[0]


def _check_alone(file: Path, layers: Iterable[Mapping[Half, tuple[str, Tensor]]]) -> None:
    """Refuse what PEFT wrote without the configuration that it wrote beside: alpha is nowhere else.

    Raises:
        UserError: If the file is such a one.
    """
    if all(
        "alpha" not in halves and key.startswith(PREFIXES["peft"]) for halves in layers for key, _ in halves.values()
    ):
        raise UserError(
            f"{file} is a file of PEFT without its {CONFIG}, which says how strongly it acts",
            f"copy the {CONFIG} of the same adapter beside it",
        )


def _check_tensor(file: Path, key: str, half: Half, tensor: Tensor) -> None:
    """Refuse what no matrix of a plain LoRA, and no alpha, can be.

    Raises:
        UserError: If this is such a tensor.
    """
    if half == "alpha":
        if tensor.numel() != 1 or tensor.dtype == torch.bool or tensor.is_complex():
            raise UserError(
                f"{file}: {key} is of shape {tuple(tensor.shape)} and {tensor.dtype}", "expected one number"
            )
    elif tensor.dtype not in DTYPES:
        raise UserError(f"{file}: {key} is of {tensor.dtype}", "expected float32, bfloat16 or float16")
    elif tensor.ndim != 2 or 0 in tensor.shape:
        raise UserError(f"{file}: {key} has shape {tuple(tensor.shape)}", "expected the matrix of a linear layer")
    if not tensor.double().isfinite().all():
        raise UserError(f"{file}: {key} has values that are not finite", "is the adapter broken?")


def _pair(file: Path, layer: str, halves: Mapping[Half, tuple[str, Tensor]], config: AdapterConfig) -> Pair:
    if "down" not in halves or "up" not in halves:
        words = [part_of(key, file).word for key, _ in halves.values()]
        raise UserError(f"{file} has only {' and '.join(words)} of {layer}", "is the file whole?")
    (down_key, down), (up_key, up) = halves["down"], halves["up"]
    if up.shape[1] != down.shape[0]:
        raise UserError(
            f"{file}: {down_key} has rank {down.shape[0]}, {up_key} has rank {up.shape[1]}",
            "the two are of different adapters",
        )
    rank = down.shape[0]
    said = config.rank_of(layer)
    if said is not None and said != rank:
        raise UserError(
            f"{file}: {down_key} has rank {rank}, the adapter's configuration says {said}",
            "the two are of different adapters; give the configuration that was written with the file",
        )
    scaling = config.scaling(layer, rank)
    if "alpha" not in halves:
        return Pair(down, up, 1.0 if scaling is None else scaling)
    key, alpha = halves["alpha"]
    own = float(alpha) / rank
    if scaling is not None and not isclose(own, scaling, rel_tol=1e-2):
        raise UserError(
            f"{file}: {key} asks for a factor of {own:g}, the adapter's configuration for {scaling:g}",
            "remove the one that is not meant",
        )
    return Pair(down, up, own)


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
