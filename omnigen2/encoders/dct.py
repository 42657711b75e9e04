"""A codec without weights: the low frequencies of small blocks of pixels. For small pictures on a CPU."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from omnigen2.encoders.codec import CodecSize, Latent, LatentCodec, Moments, Pixels, Posterior
from omnigen2.files import Fields, WeightsError, read_object

KEPT = 2
"""Frequencies that are kept in each direction: 2 x 2 for each of three colours, 12 channels."""
CLASS_NAME = "BlockDCT"


class BlockDCT(LatentCodec):
    """The lowest 2 x 2 coefficients of the cosine transform of each block, for each colour.

    Linear and exact to invert on what it keeps: with blocks of 2 pixels nothing is lost, with blocks of 4 fine
    detail is. Coefficients are divided by the block's side, so that the first channels are the block's mean colours
    (times `scale`) whatever the side: a model that was trained on small pictures with small blocks finds larger
    pictures in larger blocks familiar.

    Args:
        factor: Side of a block in pixels, at least 2: the reduction.
        scale: Of the latents; with 1 the first channels are mean colours in [-1, 1], and the default gives drawn
            scenes about unit variance there.

    Raises:
        ValueError: If the factor is below 2 or the scale is not positive.

    Source: Ahmed, Natarajan & Rao, "Discrete cosine transform" (1974).

    Example:
        >>> codec = BlockDCT(factor=2)
        >>> image = torch.rand(3, 16, 16) * 2 - 1
        >>> (latent,) = codec.encode([image])
        >>> latent.shape, torch.allclose(codec.decode([latent])[0], image, atol=1e-5)
        (torch.Size([12, 8, 8]), True)
    """

    def __init__(self, factor: int, scale: float = 3.0) -> None:
        super().__init__()
        if factor < KEPT or not scale > 0:
            raise ValueError(f"BlockDCT needs factor >= {KEPT} and scale > 0, got {factor} and {scale}")
        self.channels = 3 * KEPT**2
        self.reduction = self.multiple = factor
        self.scale = scale
        self.register_buffer("cosines", _cosines(factor), persistent=False)
        self.cosines: Float[Tensor, "kept factor"]

    @classmethod
    def from_folder(
        cls, directory: str | Path, dtype: object = None, device: torch.device | str = "cpu", memory: object = None
    ) -> "BlockDCT":
        """Read what `save` has written; without weights, there is no choice of `dtype` and `memory`.

        Raises:
            ValueError: If the configuration is another codec's.
        """
        config = read_object(Path(directory) / "config.json", WeightsError)
        kind = config.values.get("_class_name")
        if kind != CLASS_NAME:
            raise ValueError(f"{directory} holds a {kind}, expected {CLASS_NAME}; use load_codec")
        config.only("_class_name", "factor", "scale")
        return cls(config.whole("factor"), config.number("scale")).to(device)

    @override
    def encode(
        self,
        images: Sequence[Pixels],
        posterior: Posterior = "sample",
        generators: Sequence[torch.Generator] | None = None,
    ) -> list[Latent]:
        """Images to latents, for each frequency the three colours; there is nothing to draw."""
        self.check_sides(images, "a block")
        return [self._encode(image.to(self.cosines)) for image in images]

    @override
    def decode(self, latents: Sequence[Latent]) -> list[Pixels]:
        """Latents to images: the inverse on everything that blocks of two pixels can hold, clipped to [-1, 1]."""
        self.check_channels(latents)
        return [self._decode(latent.to(self.cosines)).clamp(-1, 1) for latent in latents]

    @override
    @torch.no_grad()
    def moments(self, images: Sequence[Pixels]) -> list[Moments]:
        return [mean[None] for mean in self.encode(images, "mode")]

    @override
    def facts(self) -> Mapping[str, Any]:
        return {"factor": self.reduction, "scale": self.scale}

    @override
    def save(self, directory: str | Path) -> None:
        Path(directory).mkdir(parents=True, exist_ok=True)
        text = json.dumps({"_class_name": CLASS_NAME, **self.facts()}, indent=2)
        (Path(directory) / "config.json").write_text(text + "\n")

    @override
    @staticmethod
    def size(config: Mapping[str, Any]) -> CodecSize:
        return CodecSize(Fields(config, "it", WeightsError).whole("factor"), widest=3, weights=False)

    def _encode(self, image: Pixels) -> Latent:
        side, (height, width) = self.reduction, image.shape[1:]
        blocks = image.reshape(3, height // side, side, width // side, side).permute(1, 3, 0, 2, 4)
        coefficients = self.cosines @ blocks @ self.cosines.T * (self.scale / side)
        return coefficients.permute(3, 4, 2, 0, 1).flatten(0, 2)

    def _decode(self, latent: Latent) -> Pixels:
        coefficients = latent.unflatten(0, (KEPT, KEPT, 3)).permute(3, 4, 2, 0, 1) / (self.scale / self.reduction)
        blocks = self.cosines.T @ coefficients @ self.cosines
        return blocks.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)


def _cosines(factor: int) -> Float[Tensor, "kept factor"]:
    """The first rows of the orthonormal transform."""
    frequency, place = torch.arange(KEPT)[:, None], torch.arange(factor)[None]
    rows = torch.cos(math.pi * (place + 0.5) * frequency / factor) * math.sqrt(2 / factor)
    rows[0] /= math.sqrt(2)
    return rows
