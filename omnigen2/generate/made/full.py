"""Random models of any size, the released one above all, written piece by piece: to measure memory and time on."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from omnigen2.dit import DiffusionTransformer, TransformerConfig, released_config, released_key, variants
from omnigen2.encoders import SPECIAL_TOKENS, random_vlm, write_tiny_processor
from omnigen2.files import write_json, written_beside
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.tiny import INDEX, SCHEDULER

STEMS = {"transformer": "diffusion_pytorch_model", "mllm": "model", "vae": "diffusion_pytorch_model"}
"""How the names of the files of weights begin."""
VLM_KEYS = {"model.language_model.": "model.", "model.visual.": "visual."}
"""How keys of the language model begin in transformers, and in files."""
BYTES = 256
"""Tokens in front of the special ones: one for each byte."""
PIECE = 2**24
"""Weights that are drawn at once."""
SPARE = 2**26
"""Bytes of disk for everything but weights."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of a model folder; by default those of the released one, 7.8 billion weights.

    Attributes:
        transformer: Sizes of the transformer.
        text: Of the language model, as `text_config` of transformers names them.
        vision: Of its vision tower, as `vision_config` names them.
        channels: Of the autoencoder's levels.
        shard: Largest file of weights, in bytes.
    """

    transformer: TransformerConfig = variants.OMNIGEN2_4B
    text: Mapping[str, Any] = field(
        default_factory=lambda: {
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128000,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        }
    )
    vision: Mapping[str, Any] = field(
        default_factory=lambda: {
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 2048,
            "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
        }
    )
    channels: tuple[int, ...] = (128, 256, 512, 512)
    shard: int = 5 * 1024**3


def make_full(
    directory: str | Path,
    sizes: Sizes | None = None,
    dtype: torch.dtype = torch.bfloat16,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a complete model folder in the released layout with random weights, within little memory.

    It draws noise and answers noise. Its tokenizer is that of `make_tiny`, one token a byte.

    Args:
        directory: The folder; made if missing.
        sizes: The released ones if None, 16 GB in bfloat16.
        dtype: Of the weights: bfloat16, float16 or float32.
        seed: Of the weights.
        progress: Told how many bytes of how many are written.

    Raises:
        GenerateError: If the folder has files already, or the disk has no room.
    """
    directory, sizes = Path(directory), Sizes() if sizes is None else sizes
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise GenerateError(f"{directory} has files already", "give another folder")
    models = _models(sizes)
    shapes = {part: _shapes(model) for part, model in models.items()}
    total = sum(prod(shape) for part in shapes.values() for shape in part.values()) * dtype.itemsize
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if free < total + SPARE:
        raise GenerateError(
            f"{directory} will take {total / 1e9:.1f} GB, but the disk has {free / 1e9:.1f} GB left",
            "give a folder on another disk",
        )
    done, generator = 0, torch.Generator().manual_seed(seed)
    for part, model in models.items():
        _write_config(model, directory / part, dtype)
        for size in _write(directory / part, STEMS[part], shapes[part], dtype, sizes.shard, generator):
            done += size
            if progress is not None:
                progress(done, total)
    write_tiny_processor(directory / "processor")
    (directory / "scheduler").mkdir()
    write_json(directory / "scheduler" / "scheduler_config.json", SCHEDULER)
    write_json(directory / "model_index.json", INDEX | {"untrained": list(models)})
    return directory


def _models(sizes: Sizes) -> dict[str, nn.Module]:
    """The three models without weights."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    build: Any = AutoencoderKL  # diffusers annotates tuples of any length as tuples of one
    levels = len(sizes.channels)
    ids = {token: BYTES + number for number, token in enumerate(SPECIAL_TOKENS)}
    with torch.device("meta"):
        return {
            "mllm": random_vlm(sizes.text, sizes.vision, ids, True, 0),
            "transformer": DiffusionTransformer(sizes.transformer),
            "vae": build(
                down_block_types=("DownEncoderBlock2D",) * levels,
                up_block_types=("UpDecoderBlock2D",) * levels,
                block_out_channels=sizes.channels,
                layers_per_block=2,
                norm_num_groups=min(32, sizes.channels[0] // 2),
                latent_channels=sizes.transformer.in_channels,
                scaling_factor=0.3611,
                shift_factor=0.1159,
                use_quant_conv=False,
                use_post_quant_conv=False,
                sample_size=1024,
            ),
        }


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's weights by their keys in files."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in model.state_dict().items():
        if isinstance(model, DiffusionTransformer):
            shapes[released_key(name)] = tuple(tensor.shape)
        elif name != "lm_head.weight":  # the table of the language model's words
            begin = next((one for one in VLM_KEYS if name.startswith(one)), "")
            shapes[VLM_KEYS.get(begin, "") + name.removeprefix(begin)] = tuple(tensor.shape)
    return shapes


def _write_config(model: nn.Module, folder: Path, dtype: torch.dtype) -> None:
    folder.mkdir()
    other = cast(Any, model)
    if isinstance(model, DiffusionTransformer):
        write_json(folder / "config.json", released_config(model))
    elif hasattr(model, "generation_config"):
        other.config.architectures, other.config.dtype = [type(model).__name__], dtype
        other.config.save_pretrained(str(folder))
        other.generation_config.save_pretrained(str(folder))
    else:
        other.save_config(str(folder))


def _write(
    folder: Path,
    stem: str,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: torch.dtype,
    most: int,
    generator: torch.Generator,
) -> Iterator[int]:
    """Write random weights into safetensors files.

    Yields:
        How many bytes were written since the last time.
    """
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    size = 0
    for key, shape in shapes.items():
        if shards[-1] and size + prod(shape) * dtype.itemsize > most:
            shards.append({})
            size = 0
        shards[-1][key] = shape
        size += prod(shape) * dtype.itemsize
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"{stem}-{number:05d}-of-{len(shards):05d}" if len(shards) > 1 else stem
        places |= dict.fromkeys(shard, f"{name}.safetensors")
        with written_beside(folder / f"{name}.safetensors") as draft, draft.open("wb") as file:
            file.write(_header(shard, dtype))
            for key, shape in shard.items():
                for piece in _random(key, shape, dtype, generator):
                    file.write(piece.view(torch.uint8).numpy().data)
                    yield piece.nbytes
    if len(shards) > 1:
        whole = sum(map(prod, shapes.values())) * dtype.itemsize
        index = {"metadata": {"total_size": whole}, "weight_map": places}
        write_json(folder / f"{stem}.safetensors.index.json", index)


def _header(shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype) -> bytes:
    """The beginning of a safetensors file: its length in 8 bytes, and JSON, padded to a multiple of 64 bytes."""
    named = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}[dtype]
    content: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for key, shape in shapes.items():
        end = start + prod(shape) * dtype.itemsize
        content[key] = {"dtype": named, "shape": shape, "data_offsets": (start, end)}
        start = end
    words = json.dumps(content).encode()
    words += b" " * (-(len(words) + 8) % 64)
    return len(words).to_bytes(8, "little") + words


def _random(key: str, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """A weight in flat pieces: matrices that keep the size of what they multiply, scales of one, biases of zero."""
    left = prod(shape)
    while left > 0:
        piece = torch.empty(min(left, PIECE), dtype=dtype)
        if len(shape) > 1:
            yield piece.normal_(std=prod(shape[1:]) ** -0.5, generator=generator)
        else:
            yield piece.fill_(0.0 if key.endswith("bias") else 1.0)
        left -= piece.numel()
