"""LoRA adapters of the transformer: new ones, loading, saving, merging."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from torch import nn

from omnigen2.adapters.file import AdapterLayout, Pair, read_lora, write_lora
from omnigen2.dit import DiffusionTransformer, released_key
from omnigen2.errors import UserError

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""The layers that the official fine-tuning adapts."""


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
        UserError: If no layer has such a name.
    """
    ends = tuple(f".{target}" for target in targets)
    layers = [ours for released, ours in _layers(model).items() if released.endswith(ends)]
    if not layers:
        raise UserError(f"no layer's name ends in {', '.join(targets)}", f"try {', '.join(ATTENTION)}")
    _inject(model, dict.fromkeys(layers, (rank, rank if alpha is None else alpha)), name)


def load_lora(model: DiffusionTransformer, path: str | Path, name: str = "default", scale: float = 1.0) -> None:
    """Add a trained adapter.

    Args:
        model: The transformer; its layers are wrapped in place.
        path: A folder in the layout of diffusers or PEFT, or its file of weights.
        name: A name that no adapter of the model has yet.
        scale: How strongly it acts; 1 as trained.

    Raises:
        UserError: If the file is no adapter of this transformer.
    """
    pairs = read_lora(path)
    layers = _layers(model)
    unknown = sorted(set(pairs) - set(layers))
    if unknown:
        raise UserError(f"{path} adapts {unknown[0]}, which the transformer lacks", "it belongs to another model")
    for released, pair in pairs.items():
        layer = _plain(model.get_submodule(layers[released]))
        if (pair.up.shape[0], pair.down.shape[1]) != tuple(layer.weight.shape):
            raise UserError(
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
        UserError: If the model has no such adapter.
    """
    pairs = dict(_pairs(model, name))
    if not pairs:
        raise UserError(f"the transformer has no adapter {name!r}", "add_lora or load_lora makes one")
    return write_lora(pairs, directory, layout)


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
    if hasattr(model, "peft_config"):
        delattr(model, "peft_config")


def _inject(model: DiffusionTransformer, sizes: Mapping[str, tuple[int, float]], name: str) -> None:
    """Wrap layers; `sizes` has (rank, alpha) by our layer name."""
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    config = LoraConfig(
        target_modules=list(sizes),
        rank_pattern={layer: rank for layer, (rank, _) in sizes.items()},
        alpha_pattern={layer: alpha for layer, (_, alpha) in sizes.items()},
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # a second adapter is meant
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
