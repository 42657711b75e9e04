"""LoRA adapters in the transformer: new ones to train, trained ones from files, as a part of the weights, or off."""

import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omnigen2.adapters.file import AdapterLayout, Pair, read_lora, write_lora
from omnigen2.adapters.scaled import ScaledAdapter
from omnigen2.dit import DiffusionTransformer, released_key
from omnigen2.errors import UserError, check_choice
from omnigen2.quantize import is_quantized

ATTENTION = ("attention.query", "attention.key", "attention.value", "attention.output")
"""The layers that the official fine-tuning adapts."""
TARGETS = (*ATTENTION, "feed_forward.gate", "feed_forward.up", "feed_forward.down")
"""Every matrix of every block, those of the time's modulation excepted."""
NAME = "default"
"""Of the adapter that is trained and saved."""


@dataclass(frozen=True)
class LoRA:
    """What to adapt, and how much: `W x` becomes `W x + alpha / rank * B (A x)`.

    Attributes:
        rank: Rows of A and columns of B, at least 1.
        alpha: See the formula; None for the rank, a factor of 1.
        dropout: Share of the input of A that is dropped in training, at least 0 and below 1.
        targets: Ends of names of linear layers, such as `attention.query`.
        layout: For whose loader a run writes its adapters: `"diffusers"`, `"peft"` or `"comfyui"`; ours reads all.

    Raises:
        ValueError: If a number is out of its range, or there are no targets.

    Source: arXiv:2106.09685, section 4.1.
    """

    rank: int = 8
    alpha: float | None = None
    dropout: float = 0.0
    targets: tuple[str, ...] = TARGETS
    layout: AdapterLayout = "diffusers"

    def __post_init__(self) -> None:
        check_choice("layout", self.layout, AdapterLayout)
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")
        if self.alpha is not None and not self.alpha > 0:
            raise ValueError(f"alpha must be positive, got {self.alpha}; None sets it to the rank")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if not self.targets:
            raise ValueError(f"targets is empty; name ends of layers, such as {', '.join(TARGETS)}")


def add_lora(model: DiffusionTransformer, lora: LoRA) -> None:
    """Add adapters that change nothing yet, in place, and freeze everything else.

    Do it before the parameters are sharded and before the optimizer is made. Adapters of a model in half precision
    are float32.

    Raises:
        UserError: If a target is the end of no layer's name, or the transformer has adapters already or is sharded.

    Example:
        >>> from omnigen2.dit import variants
        >>> dit = variants.micro()
        >>> add_lora(dit, LoRA(rank=4, targets=("attention.query", "attention.value")))
        >>> sum(parameter.numel() for parameter in dit.parameters() if parameter.requires_grad)
        16128
    """
    from torch.distributed.tensor import DTensor

    if next(_adapted(model), None) is not None:
        raise UserError("the transformer has adapters already", "add_lora is called once, on a plain transformer")
    if any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        raise UserError("the transformer is sharded already", "call add_lora before shard_transformer")
    linear = _linear(model).values()
    layers = {target: [name for name in linear if f".{name}".endswith(f".{target}")] for target in lora.targets}
    if missing := [target for target, names in layers.items() if not names]:
        raise UserError(f"no linear layer's name ends in {', '.join(missing)}", f"usual ends are {', '.join(TARGETS)}")
    wanted = sorted({name for names in layers.values() for name in names})
    alpha = lora.rank if lora.alpha is None else lora.alpha
    with torch.random.fork_rng(devices=[]):  # adapters depend on the seed alone, the same on every process
        torch.manual_seed(torch.initial_seed())
        _inject(model, NAME, r=lora.rank, lora_alpha=alpha, lora_dropout=lora.dropout, target_modules=wanted)
    for name, parameter in model.named_parameters():
        if is_adapter(name) and parameter.dtype in (torch.bfloat16, torch.float16):  # PEFT's layers cast for it
            parameter.data = parameter.data.float()


def load_lora(
    model: DiffusionTransformer, path: str | Path, name: str = NAME, scale: float = 1.0, in_float32: bool = False
) -> None:
    """Add a trained adapter; several add up.

    Args:
        model: The transformer; its layers are wrapped in place.
        path: A folder in the layout of diffusers, PEFT or ComfyUI, or a file of weights in any dialect.
        name: A name that no adapter of the model has yet.
        scale: How strongly it acts; 1 as trained, any finite number.
        in_float32: Whether it keeps all its digits in a model of half precision, to be trained further.

    Raises:
        UserError: If the file is no adapter of this transformer, or the scale is not finite.
    """
    scale = ScaledAdapter(Path(path), scale).scale
    layers = _linear(model)
    named = {layers[released]: pair for released, pair in fitting_lora(model, path).items()}
    _inject(
        model,
        name,
        target_modules=list(named),
        rank_pattern={layer: pair.rank for layer, pair in named.items()},
        alpha_pattern={layer: pair.scaling * pair.rank * scale for layer, pair in named.items()},
    )
    for layer, pair in named.items():
        adapted: Any = model.get_submodule(layer)
        for half, value in ((adapted.lora_A[name], pair.down), (adapted.lora_B[name], pair.up)):
            half.weight.data = half.weight.data.float() if in_float32 else half.weight.data
            half.weight.data.copy_(value)


def fitting_lora(model: DiffusionTransformer, path: str | Path) -> dict[str, Pair]:
    """Read an adapter of this transformer, which may be on the meta device, by the released layer names.

    Raises:
        UserError: If the file is no adapter, or one of another transformer.
    """
    layers = _linear(model)
    pairs = read_lora(path, layers)
    if unknown := sorted(set(pairs) - set(layers)):
        raise UserError(f"{path} adapts {unknown[0]}, which the transformer lacks", "it belongs to another model")
    for released, pair in pairs.items():
        layer: Any = model.get_submodule(layers[released])
        if (pair.up.shape[0], pair.down.shape[1]) != (layer.out_features, layer.in_features):
            raise UserError(
                f"{path}: {released} maps {pair.down.shape[1]} to {pair.up.shape[0]} channels, the transformer's "
                f"{layer.in_features} to {layer.out_features}",
                "it belongs to a model of another size",
            )
    return pairs


def save_lora(model: DiffusionTransformer, folder: str | Path, layout: AdapterLayout = "diffusers") -> Path | None:
    """Write the adapter `default` alone, by the released names, for `load_lora`, diffusers, PEFT or ComfyUI.

    Args:
        model: A transformer with adapters. If it is sharded, every process must call it; the first one writes.
        folder: Made if missing.
        layout: Whose loader reads it; ours reads all.

    Returns:
        The file of weights; None on other processes than the first.

    Raises:
        UserError: If the transformer has no such adapter.
    """
    from omnigen2.shards import is_first_process

    state = adapter_state(model)
    pairs = {
        released_key(f"{name}.weight").removesuffix(".weight"): Pair(
            state[f"{name}.lora_A.{NAME}.weight"], state[f"{name}.lora_B.{NAME}.weight"], float(layer.scaling[NAME])
        )
        for name, layer in _adapted(model)
        if NAME in layer.lora_A
    }
    if not pairs:
        raise UserError(f"the transformer has no adapter {NAME!r}", "add_lora adds one")
    return write_lora(pairs, folder, layout) if is_first_process() else None


def merge_lora(model: DiffusionTransformer) -> None:
    """Add every adapter's product to the weights and take the adapters away, if there are any.

    Raises:
        UserError: If an adapter is not made of finite numbers, or weights are quantised.
    """
    weights = merged(model, model.state_dict())
    for name, layer in list(_adapted(model)):
        if not weights[f"{name}.weight"].isfinite().all():
            raise UserError(f"with its adapters {name} has weights that are not finite", "is the adapter broken?")
        model.set_submodule(name, layer.get_base_layer())
    model.load_state_dict(weights)
    if hasattr(model, "peft_config"):
        delattr(model, "peft_config")


def merged(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, by name, of a plain model that answers as one with adapters does; sums are taken in float64.

    Of the model, `state` is the `state_dict()`, every tensor whole.

    Raises:
        UserError: If weights are quantised.
    """
    if is_quantized(module):
        raise UserError("adapters cannot be added to quantised weights", "add them to those of the plain model")
    plain = {name.replace(".base_layer.", "."): value for name, value in state.items() if not is_adapter(name)}
    for name, layer in _adapted(module):
        weight = plain[f"{name}.weight"]
        total = weight.double()
        for adapter in layer.lora_A:
            down, up = (state[f"{name}.lora_{side}.{adapter}.weight"].double() for side in "AB")
            total = total + float(layer.scaling[adapter]) * (up @ down)
        plain[f"{name}.weight"] = total.to(weight.dtype)
    return plain


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name, in any module that holds the transformer, is a matrix A or B."""
    return ".lora_A." in name or ".lora_B." in name


def adapter_state(module: nn.Module) -> dict[str, Tensor]:
    """Copy the adapters alone, for a checkpoint: whole tensors on the CPU, by the names of `named_parameters()`.

    Of sharded adapters every process must call it.
    """
    from omnigen2.shards import local_part, reshard, whole

    reshard(module)
    return {name: whole(local_part(value), value) for name, value in module.named_parameters() if is_adapter(name)}


@torch.no_grad()
def load_adapter_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Set the adapters, sharded or not, to what `adapter_state` returned, the same on every process.

    Raises:
        ValueError: If names or shapes differ.
    """
    from omnigen2.shards import local_part, part_of, reshard

    reshard(module)
    adapters = {name: value for name, value in module.named_parameters() if is_adapter(name)}
    if differing := sorted(adapters.keys() ^ state.keys()):
        raise ValueError(
            f"{differing[0]} is only in the {'state' if differing[0] in state else 'model'} ({len(differing)} such "
            "names); the adapters must be added with the same targets"
        )
    for name, value in adapters.items():
        if value.shape != state[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(value.shape)} in the model and {tuple(state[name].shape)} in the state; "
                "the adapters must be added with the same rank"
            )
        local_part(value).copy_(part_of(state[name], value))


@contextmanager
def adapters_disabled(module: nn.Module) -> Generator[None]:
    """Let the model answer as if it had no adapters, for as long as the context lasts: the reference policy.

    Yields:
        Nothing.
    """
    # PEFT's enable_adapters(False) also clears requires_grad, which FSDP2, before its first forward, keeps for good
    layers = [layer for _, layer in _adapted(module)]
    before = [layer.disable_adapters for layer in layers]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer, disabled in zip(layers, before, strict=True):
            layer._disable_adapters = disabled


def _inject(model: DiffusionTransformer, name: str, **config: Any) -> None:
    """Wrap layers, and let all adapters that a layer has act."""
    from peft import LoraConfig, inject_adapter_in_model

    with warnings.catch_warnings():
        for said in ("Already found a `peft_config`", "TorchaoLoraLinear was instantiated without"):
            warnings.filterwarnings("ignore", said)  # a second adapter is meant; nothing is merged by PEFT
        inject_adapter_in_model(LoraConfig(**config), model, name)
    for _, layer in _adapted(model):
        layer.set_adapter(list(layer.lora_A))


def _adapted(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """The adapted layers by name."""
    for name, part in module.named_modules():
        if hasattr(part, "lora_A"):
            yield name, part


def _linear(model: nn.Module) -> dict[str, str]:
    """Our name of every linear layer, adapted or not, by its released name."""
    names = [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and ".lora_" not in name]
    ours = [name.removesuffix(".base_layer") for name in names]
    return {released_key(f"{name}.weight").removesuffix(".weight"): name for name in ours}
