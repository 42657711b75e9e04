"""Which codec stands between pixels and the transformer, as a part of a recipe."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from typing_extensions import override

from omnigen2.encoders import BlockDCT, LatentCodec, VAEMemory, load_codec


class CodecSource(ABC):
    """Makes a codec when a run starts."""

    @abstractmethod
    def load(self) -> LatentCodec:
        """Load or make the codec, on the CPU and frozen; nothing is downloaded."""


@dataclass(frozen=True)
class CodecFolder(CodecSource):
    """A codec in the released layout, loaded in float32.

    Attributes:
        path: The folder `vae/` of a model.
        memory: How many pixels an autoencoder works on at once, see `omnigen2.encoders.FluxVAE`.
    """

    path: str
    memory: VAEMemory = "together"

    @override
    def load(self) -> LatentCodec:
        return load_codec(self.path, torch.float32, "cpu", self.memory)


@dataclass(frozen=True)
class DCT(CodecSource):
    """The codec without weights, see `omnigen2.encoders.BlockDCT`."""

    factor: int
    scale: float = 3.0

    @override
    def load(self) -> LatentCodec:
        return BlockDCT(self.factor, self.scale)
