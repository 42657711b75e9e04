"""What the tensors of adapter files are called by different programs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from omnigen2.errors import UserError

Half: TypeAlias = Literal["down", "up", "alpha"]

FRONT = re.compile(r"(?:(?:base_model\.model|model|diffusion_model|transformer|module)\.)*")
"""What PEFT, ComfyUI, diffusers and DDP put in front of a layer's name."""
WRAPPERS = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch puts anywhere into names: around what is compiled, sharded or computed twice."""
UNDERSCORED = re.compile(r"(?:lora_unet|lora_transformer|lycoris)_")
"""In front of names in which dots have become underscores."""
_MATRIX = r"(?P<layer>.+?)[._](?P<word>lora_{0}|lora_{1}|lora\.{1}|lora_linear_layer\.{1})(?:(?:\.[\w-]+)?\.weight)?"
"""Behind the word there may be the name that an adapter had in its model, such as `default`."""
HALVES: dict[Half, re.Pattern[str]] = {
    "down": re.compile(_MATRIX.format("A", "down")),
    "up": re.compile(_MATRIX.format("B", "up")),
    "alpha": re.compile(r"(?P<layer>.+)\.(?P<word>alpha)"),
}
TEXT_ENCODER = re.compile(
    r"(?:base_model\.model\.)?(?:lora_te|te\d?_|text_encoder|text_model|lora_clip|lora_t5|lora_qwen|conditioner\.|"
    r"cond_stage_model\.|mllm\.|language_model\.)"
)
FOREIGN = {
    "DoRA": r"\.dora_scale|lora_magnitude_vector",
    "LoKr": r"[._]lokr_",
    "LoHa": r"[._](?:hada|loha)_",
    "full-difference (diff)": r"\.diff(?:_b)?$|\.[wb]_norm$",
    "whole-weight (set_weight)": r"\.set_weight$",
    "OFT": r"[._]b?oft_",
    "GLoRA": r"\.[ab][12]\.weight$",
    "LoCon (lora_mid)": r"\.lora_mid\b",
    "reshaping (reshape_weight)": r"\.reshape_weight$",
    "LoRA-with-bias": r"\.lora_(?:A|B|up|down)(?:\.[\w-]+)?\.bias$",
    "IA3": r"ia3_|\.on_input$",
    "VeRA": r"vera_lambda",
    "AdaLoRA": r"\.lora_E\b|\.ranknum\b",
    "KaSA": r"\.lora_diag\b",
    "embedding": r"lora_embedding_",
    "whole-layer (modules_to_save)": r"modules_to_save",
}
"""Kinds of adapters that are no plain LoRA, and what they are known by."""


@dataclass(frozen=True)
class Part:
    """What a tensor is.

    Attributes:
        layer: The released name of its layer, or, if dots have become underscores, all of it as it stands.
        underscored: Whether they have.
        half: What it is of its layer.
        word: What the file calls that.
    """

    layer: str
    underscored: bool
    half: Half
    word: str


def part_of(key: str, file: object) -> Part:
    """What a tensor of an adapter is, by its name in any dialect.

    Args:
        key: Its name.
        file: For messages.

    Raises:
        UserError: If it belongs to another kind of adapter, to the text encoder, or to no adapter.
    """
    if TEXT_ENCODER.match(key):
        raise UserError(f"{file} has the key {key}, of the text encoder", "only the transformer can be adapted")
    for kind, pattern in FOREIGN.items():
        if re.search(pattern, key):
            raise UserError(f"{file} is a {kind} adapter, it has the key {key}", "plain LoRA adapters are supported")
    for half, pattern in HALVES.items():
        found = pattern.fullmatch(WRAPPERS.sub("", key))
        if found:
            layer = found["layer"]
            under = UNDERSCORED.match(layer)
            plain = layer if under else layer[FRONT.match(layer).end() :]  # pyright: ignore[reportOptionalMemberAccess]
            return Part(plain, bool(under), half, found["word"])
    raise UserError(
        f"{file} has the key {key}",
        "expected a LoRA adapter: keys end in lora_A.weight and lora_B.weight, or in lora_down.weight and "
        "lora_up.weight, with or without .alpha",
    )


def with_dots(underscored: str, layers: Iterable[str]) -> str | None:
    """The layer whose name, with its dots as underscores, this is behind its front; None if there is none."""
    bare = UNDERSCORED.sub("", underscored, count=1)
    return next((layer for layer in layers if layer.replace(".", "_") == bare), None)
