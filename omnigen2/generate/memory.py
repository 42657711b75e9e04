"""What a call will need, told from configurations and file headers without loading a weight."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open

from omnigen2.dit.released_config import model_from_config
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.folder import ModelFolder

TEXT_TOKENS = 128
"""Assumed length of a prompt with its template."""
DECODER_TILE = 512
"""Side of the tiles of the released autoencoder's tiled mode, in pixels."""


@dataclass(frozen=True)
class Need:
    """One line of the estimate.

    Attributes:
        name: What needs it.
        parameters: Number of weights, 0 for work space.
        bytes: Memory; exact for weights, an estimate within a factor of about two for work space.
    """

    name: str
    parameters: int
    bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a call will need.

    Attributes:
        weights: The three models.
        work: Work space of the transformer and of the autoencoder.
        offload: Whether idle encoders leave the device.
    """

    weights: tuple[Need, Need, Need]
    work: tuple[Need, Need]
    offload: bool

    @property
    def peak(self) -> int:
        """Bytes on the device at the worst moment."""
        transformer, vlm, vae = (need.bytes for need in self.weights)
        denoising, decoding = (need.bytes for need in self.work)
        if self.offload:
            return transformer + max(vlm, denoising, vae + decoding)
        return transformer + vlm + vae + max(denoising, decoding)


def estimate(
    folder: ModelFolder,
    targets: Sequence[tuple[int, int]],
    references: Sequence[tuple[int, int]],
    branches: int,
    dtype: torch.dtype,
    offload: bool = False,
    tiled: bool = False,
) -> Estimate:
    """Estimate the memory of one packed batch.

    Args:
        folder: The model.
        targets: (height, width) of each picture of the batch, in pixels.
        references: The same of all references of the batch.
        branches: 1 without guidance, 2 with text guidance, 3 with text and image guidance.
        dtype: Of the weights.
        offload: Whether the encoders leave the device when idle.
        tiled: Whether the autoencoder works in tiles.

    Returns:
        By part.
    """
    with torch.device("meta"):
        config = model_from_config(folder.config("transformer"), None, "auto").config
    vae = folder.config("vae")
    channels: list[int] = vae["block_out_channels"]
    side = config.patch_size * 2 ** (len(channels) - 1)
    seen = [*(size for size in targets for _ in range(branches)), *(size for size in references for _ in range(2))]
    tokens = sum(prod(size) // side**2 for size in seen) + branches * len(targets) * TEXT_TOKENS
    per_token = 3 * config.inner_size + 8 * config.hidden_size
    pixels = max(prod(size) for size in (*targets, *references))
    pixels = min(pixels, DECODER_TILE**2) if tiled else pixels
    return Estimate(
        weights=(
            _weights(folder, "transformer", dtype),
            _weights(folder, "mllm", dtype),
            _weights(folder, "vae", dtype),
        ),
        work=(
            Need("denoising", 0, tokens * per_token * dtype.itemsize),
            Need("decoding", 0, 3 * channels[min(1, len(channels) - 1)] * pixels * dtype.itemsize),
        ),
        offload=offload,
    )


def _weights(folder: ModelFolder, part: str, dtype: torch.dtype) -> Need:
    files = sorted(folder.part(part).glob("*.safetensors"))
    if not files:
        raise GenerateError(f"{folder.part(part)} has no .safetensors file", "is the download complete?")
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
