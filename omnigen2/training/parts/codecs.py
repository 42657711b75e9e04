"""Which codec stands between pixels and the transformer, as a part of a recipe."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, cast

import torch

from omnigen2.encoders import BlockDCT, FluxVAE, LatentCodec, VAEMemory, load_codec


class CodecSource(ABC):
    """Makes a codec when a run starts."""

    @abstractmethod
    def load(self) -> LatentCodec:
        """Load or make the codec.

        Returns:
            On the CPU, frozen.
        """


class CodecFolder(CodecSource):
    """A codec in the released layout.

    Args:
        path: The folder `vae/` of a model.
        memory: How many pixels an autoencoder works on at once, see `omnigen2.encoders.FluxVAE`.
    """

    def __init__(self, path: str, memory: VAEMemory = "together") -> None:
        self.path = Path(path)
        self.memory: VAEMemory = memory

    def load(self) -> LatentCodec:
        """Load the codec in float32; nothing is downloaded.

        Returns:
            On the CPU, frozen.
        """
        return load_codec(self.path, torch.float32, "cpu", self.memory)


class DCT(CodecSource):
    """The codec without weights.

    Args:
        factor: See `omnigen2.encoders.BlockDCT`.
        scale: Likewise.
    """

    def __init__(self, factor: int, scale: float = 3.0) -> None:
        self.factor = factor
        self.scale = scale

    def load(self) -> LatentCodec:
        """Make the codec.

        Returns:
            On the CPU.
        """
        return BlockDCT(self.factor, self.scale)


def save_codec(codec: LatentCodec, folder: str | Path) -> None:
    """Write a codec as `load_codec` reads it.

    Args:
        codec: A `BlockDCT` or a `FluxVAE`.
        folder: Gets the configuration and the weights; it is made.

    Raises:
        TypeError: If it is another codec.
    """
    match codec:
        case BlockDCT():
            codec.save(folder)
        case FluxVAE():
            cast(Any, codec.vae).save_pretrained(str(folder))
        case _:
            raise TypeError(f"got a {type(codec).__name__}; only a BlockDCT or a FluxVAE can be saved")
