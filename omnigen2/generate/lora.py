"""LoRA adapters of the transformer, in the layouts of diffusers and PEFT, by the names of the released model."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never, cast

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from omnigen2.dit import DiffusionTransformer
from omnigen2.dit.keys import released_key
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.weights import read_weights

AdapterLayout: TypeAlias = Literal["diffusers", "peft"]

FILES: dict[AdapterLayout, str] = {
    "diffusers": "pytorch_lora_weights.safetensors",
    "peft": "adapter_model.safetensors",
}
PREFIXES: dict[AdapterLayout, str] = {"diffusers": "transformer.", "peft": "base_model.model."}
METADATA = "lora_adapter_metadata"
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""The layers that the official fine-tuning adapts."""


@dataclass(frozen=True)
class Pair:
    """The two matrices of one adapted layer, and the factor on their product.

    Attributes:
        down: Shape (rank, in channels).
        up: Shape (out channels, rank).
        scaling: Factor on `up @ down`.
    """

    down: Tensor
    up: Tensor
    scaling: float

    @property
    def rank(self) -> int:
        """Rows of `down`."""
        return self.down.shape[0]


def add_lora(
    model: DiffusionTransformer,
    rank: int = 8,
    alpha: float | None = None,
    targets: Sequence[str] = ATTENTION,
    name: str = "default",
) -> None:
    """Add a new adapter, which changes nothing until it is trained, and freeze everything else.

    Args:
        model: The transformer; its layers are wrapped in place.
        rank: At least 1.
        alpha: The product of the matrices is scaled by alpha / rank; by default alpha = rank.
        targets: Ends of released layer names.
        name: Of the adapter.

    Raises:
        GenerateError: If no layer has such a name.
    """
    ends = tuple(f".{target}" for target in targets)
    layers = [ours for released, ours in _layers(model).items() if released.endswith(ends)]
    if not layers:
        raise GenerateError(f"no layer's name ends in {', '.join(targets)}", f"try {', '.join(ATTENTION)}")
    _inject(model, dict.fromkeys(layers, (rank, rank if alpha is None else alpha)), name)


def load_lora(model: DiffusionTransformer, path: str | Path, name: str = "default", scale: float = 1.0) -> None:
    """Add a trained adapter.

    Args:
        model: The transformer; its layers are wrapped in place.
        path: A folder in the layout of diffusers or PEFT, or its file of weights.
        name: A name that no adapter of the model has yet.
        scale: How strongly it acts; 1 as trained.

    Raises:
        GenerateError: If the file is no adapter of this transformer.
    """
    pairs = read_lora(path)
    layers = _layers(model)
    unknown = sorted(set(pairs) - set(layers))
    if unknown:
        raise GenerateError(f"{path} adapts {unknown[0]}, which the transformer lacks", "it belongs to another model")
    for released, pair in pairs.items():
        layer = _plain(model.get_submodule(layers[released]))
        if (pair.up.shape[0], pair.down.shape[1]) != tuple(layer.weight.shape):
            raise GenerateError(
                f"{path}: {released} maps {pair.down.shape[1]} to {pair.up.shape[0]} channels, the transformer's "
                f"{layer.weight.shape[1]} to {layer.weight.shape[0]}",
                "it belongs to a model of another size",
            )
    sizes = {layers[released]: (pair.rank, pair.scaling * pair.rank * scale) for released, pair in pairs.items()}
    _inject(model, sizes, name)
    for released, pair in pairs.items():
        adapted: Any = model.get_submodule(layers[released])
        adapted.lora_A[name].weight.data.copy_(pair.down)
        adapted.lora_B[name].weight.data.copy_(pair.up)


def save_lora(
    model: DiffusionTransformer, directory: str | Path, layout: AdapterLayout = "diffusers", name: str = "default"
) -> Path:
    """Write an adapter alone, by the released names.

    Args:
        model: A transformer with adapters.
        directory: The folder; made if missing.
        layout: Whose loader reads it.
        name: Of the adapter.

    Returns:
        The file of weights.

    Raises:
        GenerateError: If the model has no such adapter.
    """
    directory = Path(directory)
    pairs = dict(_pairs(model, name))
    if not pairs:
        raise GenerateError(f"the transformer has no adapter {name!r}", "add_lora or load_lora makes one")
    directory.mkdir(parents=True, exist_ok=True)
    prefix, config = PREFIXES[layout], _config(pairs)
    tensors = {f"{prefix}{key}.lora_A.weight": pair.down for key, pair in pairs.items()}
    tensors |= {f"{prefix}{key}.lora_B.weight": pair.up for key, pair in pairs.items()}
    metadata = {"format": "pt"}
    match layout:
        case "diffusers":
            metadata[METADATA] = json.dumps({f"{prefix}{key}": value for key, value in config.items()}, sort_keys=True)
        case "peft":
            (directory / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **config}, indent=2) + "\n")
        case _:
            assert_never(layout)
    path = directory / FILES[layout]
    save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, path, metadata)
    return path


def merge_lora(model: DiffusionTransformer) -> None:
    """Add every adapter's product to the weights and take the adapters away.

    Args:
        model: A transformer with or without adapters.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            cast(Any, module).merge(safe_merge=True)
            model.set_submodule(name, module.get_base_layer())


def read_lora(path: str | Path) -> dict[str, Pair]:
    """Read an adapter.

    Args:
        path: See `load_lora`.

    Returns:
        Matrices by the released layer name.

    Raises:
        GenerateError: If the file is no LoRA adapter.
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
            raise GenerateError(
                f"{file} has the key {key}", "expected a LoRA adapter: keys end in lora_A.weight or lora_B.weight"
            )
        halves.setdefault(layer, {})[half] = tensor
    for layer, pair in halves.items():
        if len(pair) < 2:
            raise GenerateError(f"{file} has only {next(iter(pair))} of {layer}", "is the file whole?")
    return {
        layer: Pair(pair["lora_A"], pair["lora_B"], _scaling(layer, pair["lora_A"].shape[0], config))
        for layer, pair in halves.items()
    }


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    for name in (*FILES.values(), "adapter_model.bin"):
        if (path / name).is_file():
            return path / name
    what = "has neither" if path.is_dir() else "does not exist; a LoRA folder has"
    raise GenerateError(f"{path} {what} {' nor '.join(FILES.values())}", "give an adapter's folder or file")


def _read_config(file: Path) -> dict[str, Any]:
    beside = file.with_name("adapter_config.json")
    if beside.is_file():
        config = cast(dict[str, Any], json.loads(beside.read_text()))
    elif file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as opened:
            text: str = (opened.metadata() or {}).get(METADATA, "{}")
        content = cast(dict[str, Any], json.loads(text))
        config = {key.removeprefix(PREFIXES["diffusers"]): value for key, value in content.items()}
    else:
        config = {}
    if config.get("use_dora"):
        raise GenerateError(f"{file} is a DoRA adapter", "plain LoRA adapters are supported")
    return config


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


def _inject(model: DiffusionTransformer, sizes: Mapping[str, tuple[int, float]], name: str) -> None:
    """Wrap layers; `sizes` has (rank, alpha) by our layer name."""
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    config = LoraConfig(
        target_modules=list(sizes),
        rank_pattern={layer: rank for layer, (rank, _) in sizes.items()},
        alpha_pattern={layer: alpha for layer, (_, alpha) in sizes.items()},
    )
    inject_adapter_in_model(config, model, name)
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            layer: Any = module
            layer.set_adapter(list(layer.lora_A))


def _layers(model: nn.Module) -> dict[str, str]:
    """Our name of every linear layer, by its released name."""
    found: dict[str, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and ".lora_" not in name:
            ours = name.removesuffix(".base_layer")
            found[released_key(f"{ours}.weight").removesuffix(".weight")] = ours
    return found


def _plain(module: nn.Module) -> nn.Linear:
    return cast(nn.Linear, getattr(module, "base_layer", module))


def _pairs(model: nn.Module, name: str) -> Iterator[tuple[str, Pair]]:
    for released, ours in _layers(model).items():
        layer: Any = model.get_submodule(ours)
        if hasattr(layer, "lora_A") and name in layer.lora_A:
            yield released, Pair(layer.lora_A[name].weight, layer.lora_B[name].weight, float(layer.scaling[name]))
