"""How much memory a training step of the transformer needs beside its weights, from its sizes alone."""

from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from omnigen2.dit import DiffusionTransformer
from omnigen2.errors import UserError
from omnigen2.generate import ModelFolder
from omnigen2.generate.memory import weights_of
from omnigen2.layout import Layout
from omnigen2.quantize import is_quantized
from omnigen2.training.parts.codecs import CodecFolder, CodecSource
from omnigen2.training.parts.vlm import DTYPES, MLLM, VLMFolder, VLMSource


def activation_bytes(model: DiffusionTransformer, layout: Layout, number: int, residual: int = 4) -> tuple[int, int]:
    """What a forward pass keeps for the backward pass, and what that needs for one block: about, in bytes.

    Of a group of blocks that is computed again, each block keeps its input, and one at a time everything. The gradients
    of a block are taken to need as much as what it keeps. Of quantised weights each layer keeps a copy in numbers that
    are multiplied.

    Args:
        model: On any device, also meta, with its adapters if there are any.
        layout: Of a batch.
        number: Bytes of a number that is multiplied: 2 with bfloat16, 4 with float32.
        residual: Bytes of a number between blocks: 4 with mixed precision.
    """
    texts, references, targets = (layout.segments(kind).total for kind in ("text", "reference", "target"))
    groups = {"text_refiner": texts, "reference_refiner": references, "noise_refiner": targets, "blocks": layout.tokens}
    kept = once = 0
    for group, tokens in groups.items():
        blocks = cast(nn.ModuleList, getattr(model, group))
        if not len(blocks) or not tokens:
            continue
        everything = tokens * _per_token(model, blocks[0], number, residual)
        if is_quantized(blocks[0]):
            everything += number * sum(weight.numel() for weight in blocks[0].parameters() if weight.ndim == 2)
        if group in model.checkpointing:
            kept += len(blocks) * tokens * residual * model.config.hidden_size
            once = max(once, 2 * everything)
        else:
            kept += len(blocks) * everything
            once = max(once, everything)
    return kept, once


def frozen_bytes(text: VLMSource, codec: CodecSource) -> dict[str, int] | None:
    """Bytes of the weights of the frozen encoders, by what they are; None if there are no files that tell."""
    if not isinstance(text, VLMFolder) or not isinstance(codec, CodecFolder):
        return None
    vae = Path(codec.path)
    try:
        reader = weights_of(ModelFolder(Path(text.path)), MLLM, DTYPES[text.precision], text.quantize)
        made = weights_of(ModelFolder(vae.parent), vae.name, torch.float32)
    except UserError:
        return None
    return {"vision-language model": reader.bytes, "autoencoder": made.bytes}


def _per_token(model: DiffusionTransformer, block: nn.Module, number: int, residual: int) -> int:
    """Bytes that a block keeps of a token."""
    config = model.config
    hidden, inner = config.hidden_size, config.inner_size
    values = hidden // config.num_heads * config.num_kv_heads
    attention = 4 * hidden + 3 * values  # queries and keys before and after they are turned, values, what is attended,
    layers = 2 * inner + hidden  # and what the last layer makes of it; both halves of the product, and the last layer
    adapted: list[Any] = [part for part in block.modules() if hasattr(part, "lora_A")]
    own = sum(int(part.in_features) for part in adapted)  # each multiplies a copy of its input
    inputs = own if adapted else 2 * hidden + inner
    return number * (attention + layers + inputs) + 2 * residual * hidden
