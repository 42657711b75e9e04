"""LoRA fine-tuning of the diffusion transformer: low-rank adapters are trained, everything else is frozen."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from omnigen2.adapters.file import AdapterLayout, Pair, write_lora
from omnigen2.dit import DiffusionTransformer, released_key
from omnigen2.shards import is_first_process, local_part, part_of, reshard, whole

TARGETS = (
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.output",
    "feed_forward.gate",
    "feed_forward.up",
    "feed_forward.down",
)
"""Every matrix of every block, those of the time's modulation excepted."""

NAME = "default"


@dataclass(frozen=True)
class LoRA:
    """What to adapt, and how much: `W x` becomes `W x + alpha / rank * B (A x)`.

    Attributes:
        rank: Rows of A and columns of B, at least 1.
        alpha: See the formula; None for the rank, a factor of 1.
        dropout: Share of the input of A that is dropped in training, at least 0 and below 1.
        targets: Ends of names of linear layers, such as `attention.query`.

    Raises:
        ValueError: If a number is out of its range, or there are no targets.

    Source: arXiv:2106.09685, section 4.1.
    """

    rank: int = 8
    alpha: float | None = None
    dropout: float = 0.0
    targets: tuple[str, ...] = TARGETS

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")
        if self.alpha is not None and not self.alpha > 0:
            raise ValueError(f"alpha must be positive, got {self.alpha}; None sets it to the rank")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if not self.targets:
            raise ValueError(f"targets is empty; name ends of layers, such as {', '.join(TARGETS)}")


def add_lora(module: DiffusionTransformer, lora: LoRA) -> None:
    """Add adapters that change nothing yet, and freeze everything else.

    Do it before the parameters are sharded and before the optimizer is made. Adapters of a model in half precision
    are float32.

    Args:
        module: The transformer; its layers are wrapped in place.
        lora: What to adapt.

    Raises:
        ValueError: If a target is the end of no layer's name, or the transformer has adapters already or is sharded.

    Example:
        >>> from omnigen2.dit import variants
        >>> dit = variants.micro()
        >>> add_lora(dit, LoRA(rank=4, targets=("attention.query", "attention.value")))
        >>> sum(parameter.numel() for parameter in dit.parameters() if parameter.requires_grad)
        16128
    """
    from peft import LoraConfig, inject_adapter_in_model

    if next(_adapted(module), None) is not None:
        raise ValueError("the transformer has adapters already; add_lora is called once, on a plain transformer")
    if any(isinstance(parameter, DTensor) for parameter in module.parameters()):
        raise ValueError("the transformer is sharded already; call add_lora before shard_transformer")
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    layers = {target: [name for name in linear if f".{name}".endswith(f".{target}")] for target in lora.targets}
    if missing := [target for target, names in layers.items() if not names]:
        raise ValueError(f"no linear layer's name ends in {', '.join(missing)}; usual ends are {', '.join(TARGETS)}")
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.rank if lora.alpha is None else lora.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=lora.dropout,
        target_modules=sorted({name for names in layers.values() for name in names}),
    )
    with torch.random.fork_rng(devices=[]):  # adapters depend on the seed alone, the same on every process
        torch.manual_seed(torch.initial_seed())
        inject_adapter_in_model(config, module, NAME)
    for name, parameter in module.named_parameters():
        if is_adapter(name) and parameter.dtype in (torch.bfloat16, torch.float16):  # PEFT's layers cast for it
            parameter.data = parameter.data.float()


def is_adapter(name: str) -> bool:
    """Whether a parameter belongs to an adapter.

    Args:
        name: Of the parameter, in any module that holds the transformer.

    Returns:
        True for the matrices A and B.
    """
    return ".lora_A." in name or ".lora_B." in name


def adapter_state(module: nn.Module) -> dict[str, Tensor]:
    """Copy the adapters alone, for a checkpoint. Of sharded adapters every process must call it.

    Args:
        module: The transformer, or what holds it.

    Returns:
        Whole tensors on the CPU, by the names of `module.named_parameters()`.
    """
    reshard(module)
    return {name: whole(local_part(value), value) for name, value in module.named_parameters() if is_adapter(name)}


@torch.no_grad()
def load_adapter_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Set the adapters, sharded or not.

    Args:
        module: The transformer with adapters of the same shapes, or what holds it.
        state: What `adapter_state` returned, the same on every process.

    Raises:
        ValueError: If names or shapes differ.
    """
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


def save_lora(module: DiffusionTransformer, folder: str | Path, layout: AdapterLayout = "diffusers") -> None:
    """Write the adapters for `omnigen2.adapters.load_lora`, diffusers or PEFT.

    The first process writes; of a sharded transformer every process must call it.

    Args:
        module: A transformer with adapters.
        folder: Made if missing.
        layout: Whose loader reads it; ours reads both.

    Raises:
        ValueError: If the transformer has no adapters.
    """
    state = adapter_state(module)
    if not state:
        raise ValueError("the transformer has no adapters; add_lora adds them")
    pairs = {
        released_key(f"{name}.weight").removesuffix(".weight"): Pair(
            state[f"{name}.lora_A.{NAME}.weight"], state[f"{name}.lora_B.{NAME}.weight"], float(layer.scaling[NAME])
        )
        for name, layer in _adapted(module)
    }
    if is_first_process():
        write_lora(pairs, folder, layout)


def merged(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a plain model that answers as one with adapters does.

    Args:
        module: With or without adapters.
        state: Its `state_dict()`, every tensor whole.

    Returns:
        By the names of a plain model.
    """
    plain = {name.replace(".base_layer.", "."): value for name, value in state.items() if not is_adapter(name)}
    for name, layer in _adapted(module):
        down, up = (state[f"{name}.lora_{side}.{NAME}.weight"].double() for side in "AB")
        weight = plain[f"{name}.weight"]
        plain[f"{name}.weight"] = (weight.double() + float(layer.scaling[NAME]) * (up @ down)).to(weight.dtype)
    return plain


@contextmanager
def adapters_disabled(module: nn.Module) -> Generator[None]:
    """Let the model answer as if it had no adapters, for as long as the context lasts: the reference policy.

    Args:
        module: The transformer, or what holds it.

    Yields:
        Nothing.
    """
    # PEFT's own enable_adapters(False) also clears requires_grad, which FSDP2 would keep for good if it happened
    # before its first forward.
    layers = [layer for _, layer in _adapted(module)]
    before = [layer.disable_adapters for layer in layers]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer, disabled in zip(layers, before, strict=True):
            layer._disable_adapters = disabled


def _adapted(module: nn.Module) -> Iterator[tuple[str, Any]]:
    # The adapted layers by name.
    for name, part in module.named_modules():
        if hasattr(part, "lora_A"):
            yield name, part
