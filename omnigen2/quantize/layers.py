"""The matrices of a model's blocks, one layer after another, in fewer bits."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, assert_never, cast

import torch
from torch import Tensor, nn

from omnigen2.errors import UserError
from omnigen2.quantize.kinds import Quantization, check_quantization
from omnigen2.quantize.padded import PaddedLinear

WIDTHS = 16
"""What kernels of float8 want widths to be multiples of."""


@torch.no_grad()
def quantize(
    model: nn.Module,
    kind: Quantization,
    keep: Sequence[str] = (),
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    done_with: Callable[[Sequence[Tensor]], object] | None = None,
) -> None:
    """Replace the linear layers inside of a model's stacks of blocks (`nn.ModuleList`), in place, and freeze them.

    What stands outside of the stacks (embeddings, the layers in front of and behind the blocks) stays as it is. Each
    layer is read, converted, moved and replaced before the next one: of a model whose weights are pages of a file the
    memory is that of the small weights and one layer.

    Args:
        model: On the CPU, the device it is to work on, or meta, where sizes are counted.
        kind: Of the new weights; `"none"` only moves and converts the model.
        keep: Parts of names, such as `"modulation"`: layers with one of them in their names stay.
        dtype: Of everything else, and of the products; what the model has if None.
        device: Where it is to work; where it is if None.
        done_with: Told of each layer's old weights as soon as nothing needs them: who mapped them can give back pages.

    Raises:
        UserError: If the kind cannot be had here, a layer is quantised or adapted already, or did not change.

    Example:
        >>> from omnigen2.dit import variants
        >>> dit = variants.micro()
        >>> before = stored_bytes(dit.blocks)
        >>> quantize(dit, "int8", keep=("modulation",))
        >>> type(dit.blocks[0].body.attention.query.weight).__name__, stored_bytes(dit.blocks) < 0.5 * before
        ('Int8Tensor', True)
    """
    names = list(_layers(model, keep))
    if kind != "none":
        where = next(model.parameters()).device if device is None else torch.device(device)
        check_quantization(kind, where, dtype)
        if is_quantized(model):
            raise UserError("the model is quantised already", "quantize is called once, on the weights as they were")
        if any(hasattr(part, "lora_A") for part in model.modules()):
            raise UserError("the model has adapters already", "quantise it first, then add or load adapters")
        if not names:
            raise UserError(f"no linear layer to quantise in the blocks of a {type(model).__name__}", "keep less")
        for name in names:
            layer = cast(nn.Linear, model.get_submodule(name))
            old = [parameter.detach() for parameter in layer.parameters()]
            layer.to(device=device, dtype=dtype)
            small = _small(layer.requires_grad_(False), kind)
            if quantization_of(small) != kind:
                sizes = f"{layer.in_features} to {layer.out_features}"
                raise UserError(f"{name} ({sizes} channels) was not changed to {kind}", "take another kind, or keep it")
            model.set_submodule(name, small)
            if done_with is not None:
                done_with(old)
    model.to(device=device, dtype=dtype)
    for parameter in model.parameters():
        if (inner := _inner(parameter)) is not None:
            cast(Any, parameter).stored_bytes = sum(one.nbytes for one in inner)  # for who counts memory


def quantization_of(model: nn.Module) -> Quantization:
    """Of which kind a model's quantised weights are, `"none"` if it has none."""
    kinds: dict[str, Quantization] = {"Int8Tensor": "int8", "Float8Tensor": "float8", "Params4bit": "nf4"}
    for parameter in model.parameters():
        if (name := type(parameter).__name__) in kinds:
            return kinds[name]
    return "none"


def is_quantized(model: nn.Module) -> bool:
    """Whether any parameter is quantised."""
    return quantization_of(model) != "none"


def stored_bytes(model: nn.Module) -> int:
    """Bytes of all parameters as they are stored."""
    return sum(sum(one.nbytes for one in _inner(each) or (each,)) for each in model.parameters())


def inner_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model by name, what is quantised taken apart into the plain tensors that it consists of."""
    found: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        for number, one in enumerate(_inner(value) or (value,)):
            found[f"{name}.{number}" if number else name] = one
    return found


def _layers(model: nn.Module, keep: Sequence[str]) -> Iterator[str]:
    stacks = tuple(f"{name}." for name, part in model.named_modules() if isinstance(part, nn.ModuleList))
    for name, part in model.named_modules():
        if type(part) is nn.Linear and name.startswith(stacks) and not {*name.split(".")} & {*keep}:
            yield name


def _small(layer: nn.Linear, kind: Quantization) -> nn.Linear:
    match kind:
        case "int8":
            from torchao.quantization import Int8WeightOnlyConfig, quantize_

            quantize_(layer, Int8WeightOnlyConfig(set_inductor_config=False))
            return layer
        case "float8":
            from torchao.quantization import Float8DynamicActivationFloat8WeightConfig as Products
            from torchao.quantization import Float8WeightOnlyConfig, PerRow, quantize_

            layer = PaddedLinear(layer, WIDTHS)
            products = layer.weight.device.type == "cuda"
            quantize_(
                layer,
                Products(granularity=PerRow(), set_inductor_config=False)
                if products
                else Float8WeightOnlyConfig(set_inductor_config=False),
            )
            return layer
        case "nf4":
            return _four_bits(layer)
        case "none":
            return layer
        case _:
            assert_never(kind)


def _four_bits(layer: nn.Linear) -> nn.Linear:
    bits: Any = import_module("bitsandbytes.nn")
    weight, has_bias = layer.weight.detach(), layer.bias is not None  # pyright: ignore[reportUnnecessaryComparison]
    with torch.device("meta"):
        small = bits.Linear4bit(layer.in_features, layer.out_features, has_bias, weight.dtype, quant_type="nf4")
    small.weight = bits.Params4bit(weight, requires_grad=False, quant_type="nf4", module=small)
    small.bias = layer.bias
    small.support_avx512bf16_for_cpu = False  # its packing for such processors wants widths that are multiples of 32
    return small if weight.is_meta else small.to(weight.device)  # which packs them


def _inner(parameter: Tensor) -> tuple[Tensor, ...] | None:
    """The plain tensors in which a quantised parameter is stored, None if it is plain itself."""
    if hasattr(parameter, "__tensor_flatten__"):
        return tuple(getattr(parameter, name) for name in cast(Any, parameter).__tensor_flatten__()[0])
    if type(parameter).__name__ != "Params4bit":
        return None
    state = cast(Any, parameter).quant_state
    if state is None:  # on meta, where nothing can be packed: 4 bits, and 8 and a 64th of 32 for each 64 of them
        size = parameter.numel()
        return (torch.empty(-(-size // 2) + -(-size // 64) + 4 * -(-size // 16384), dtype=torch.uint8, device="meta"),)
    return (parameter.detach().as_subclass(Tensor), *state.as_dict(packed=True).values())
