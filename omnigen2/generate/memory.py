"""What a call will need, told from configurations and file headers without loading a weight."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open

from omnigen2.dit import read_config
from omnigen2.encoders import CodecSize, VAEMemory, codec_class
from omnigen2.generate.encode import Offload
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.folder import ModelFolder
from omnigen2.generate.plan import Plan, Planner
from omnigen2.generate.request import Sampling

Read = TypeVar("Read")
PICKLED = (".bin", ".pt", ".pth", ".ckpt")
TEXT_TOKENS = 128
"""Assumed length of a prompt with its template."""
DECODER_TILE = 512
"""Side of the tiles of the released autoencoder's tiled mode, in pixels."""


@dataclass(frozen=True)
class Need:
    """What one thing needs: its number of weights (0 for work space), and bytes.

    Bytes are exact for weights, and an estimate within a factor of about two for work space.
    """

    name: str
    parameters: int
    bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a call will need: the three models, and the work space of the transformer and of the autoencoder."""

    weights: tuple[Need, Need, Need]
    work: tuple[Need, Need]
    offload: Offload

    @property
    def peak(self) -> int:
        """Bytes on the device at the worst moment."""
        transformer, vlm, vae = (need.bytes for need in self.weights)
        denoising, decoding = (need.bytes for need in self.work)
        if self.offload == "idle":
            return transformer + max(vlm, denoising, vae + decoding)
        return transformer + vlm + vae + max(denoising, decoding)


def planner_of(folder: ModelFolder) -> Planner:
    """What a model can do, from its configurations alone: checks requests before anything is loaded."""
    config = _read(folder, "transformer", read_config)
    return Planner(_codec(folder).reduction * config.patch_size, config.max_references)


def estimate(
    folder: ModelFolder,
    plans: Sequence[Plan],
    sampling: Sampling,
    dtype: torch.dtype,
    offload: Offload = "none",
    vae_memory: VAEMemory = "one_by_one",
) -> Estimate:
    """Estimate the memory of one packed batch.

    Args:
        folder: The model.
        plans: The batch.
        sampling: How it is sampled; guidance multiplies the work space.
        dtype: Of the weights.
        offload: See `Encoders`.
        vae_memory: How the autoencoder works.
    """
    config, codec = _read(folder, "transformer", read_config), _codec(folder)
    guidance = sampling.guidance(any(plan.references for plan in plans))
    branches = 1 if guidance is None else guidance.num_branches
    seen: list[int] = []
    for plan in plans:
        seen += [prod(plan.size)] * branches
        seen += [image.width * image.height for image in plan.references] * max(branches - 1, 1)
    patch = (codec.reduction * config.patch_size) ** 2
    tokens = sum(pixels // patch for pixels in seen) + branches * len(plans) * TEXT_TOKENS
    per_token = 3 * config.inner_size + 8 * config.hidden_size
    pixels = sum(seen) if vae_memory == "together" else max(seen)
    pixels = min(pixels, DECODER_TILE**2) if vae_memory == "tiled" else pixels
    return Estimate(
        weights=(
            _weights(folder, "transformer", dtype),
            _weights(folder, "mllm", dtype),
            _weights(folder, "vae", dtype) if codec.weights else Need("vae", 0, 0),
        ),
        work=(
            Need("denoising", 0, tokens * per_token * dtype.itemsize),
            Need("decoding", 0, 3 * codec.widest * pixels * dtype.itemsize),
        ),
        offload=offload,
    )


def _read(folder: ModelFolder, part: str, reader: Callable[[dict[str, Any]], Read]) -> Read:
    content = folder.config(part)
    try:
        return reader(content)
    except ValueError as error:
        raise GenerateError(f"{folder.part(part) / 'config.json'}: {error}", f"is it that of a {part}?") from error


def _codec(folder: ModelFolder) -> CodecSize:
    return _read(folder, "vae", lambda config: codec_class(config).size(config))


def _weights(folder: ModelFolder, part: str, dtype: torch.dtype) -> Need:
    files = sorted(folder.part(part).glob("*.safetensors"))
    if not files:
        others = sorted(path.name for path in folder.part(part).glob("*.[bcp]*") if path.suffix in PICKLED)
        there = f", but {others[0]}" if others else ""
        remedy = "`omnigen2 export FILE --base DIR` writes it in the released layout"
        raise GenerateError(
            f"{folder.part(part)} has no .safetensors file{there}", remedy if others else "is the download complete?"
        )
    parameters = sum(_elements(path) for path in files)
    return Need(part, parameters, parameters * dtype.itemsize)


def _elements(path: Path) -> int:
    """Number of elements of all tensors, read off the file's header.

    Raises:
        GenerateError: If the file is broken.
    """
    try:
        with safe_open(path, framework="pt") as file:
            opened = cast(Any, file)
            return sum(prod(opened.get_slice(key).get_shape()) for key in opened.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise GenerateError(f"{path} is not a whole safetensors file: {error}", "download it again") from error
