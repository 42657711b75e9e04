"""What stands between pixels and the transformer: images to latents and back."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from omnigen2.encoders.fingerprint import fingerprint

Pixels: TypeAlias = Float[Tensor, "3 _ _"]
"""One image in [-1, 1], shape (3, height, width)."""
Latent: TypeAlias = Float[Tensor, "_ _ _"]
"""One scaled latent image, shape (channels, height, width) in latent pixels."""
Moments: TypeAlias = Float[Tensor, "_ _ _ _"]
"""Shape (1 or 2, channels, height, width): the mean of a scaled latent and, where the codec has one, its standard
deviation."""
Posterior: TypeAlias = Literal["sample", "mode"]


@dataclass(frozen=True)
class CodecSize:
    """As far as a configuration tells: pixels per latent pixel, channels of the decoder's widest layers, weights."""

    reduction: int
    widest: int
    weights: bool


class LatentCodec(nn.Module, ABC):
    """Encodes images as latents of about unit size, and decodes them; frozen, always in evaluation mode.

    Attributes:
        channels: Channels of a latent.
        reduction: Pixels per latent pixel, in each direction.
        multiple: Sides of images must be multiples of so many pixels.
    """

    channels: int
    reduction: int
    multiple: int

    @override
    def train(self, mode: bool = True) -> "LatentCodec":
        del mode
        return super().train(False)

    @abstractmethod
    def encode(
        self,
        images: Sequence[Pixels],
        posterior: Posterior = "sample",
        generators: Sequence[torch.Generator] | None = None,
    ) -> list[Latent]:
        """Images to latents.

        Args:
            images: Each of shape (3, height, width) in [-1, 1], sides multiples of `multiple`, on any device.
            posterior: `"sample"` draws from the codec's distribution, if it has one, as the released code does;
                `"mode"` takes its mean.
            generators: One per image for the draw, on any device; torch's global generator if None.

        Returns:
            float32 latents of shape (channels, height / reduction, width / reduction) on the codec's device.

        Raises:
            ValueError: If a side is not such a multiple, or there are not as many generators as images.
        """

    @abstractmethod
    def decode(self, latents: Sequence[Latent]) -> list[Pixels]:
        """Latents to images. Gradients flow to the latents.

        Args:
            latents: Each of shape (channels, height, width) in latent pixels, on any device.

        Returns:
            float32 images of shape (3, reduction * height, reduction * width) in [-1, 1] on the codec's device.

        Raises:
            ValueError: If a latent has another number of channels.
        """

    @abstractmethod
    def moments(self, images: Sequence[Pixels]) -> list[Moments]:
        """What latents are drawn from, to be stored: `draw(moments)` is what `encode` gives.

        Args:
            images: As for `encode`; worked on one by one.

        Returns:
            float32 on the codec's device, one per image.

        Raises:
            ValueError: If a side is not a multiple of `multiple`.
        """

    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """What latents depend on besides the weights, as JSON can hold it."""

    @abstractmethod
    def save(self, directory: str | Path) -> None:
        """Write configuration and weights as `load_codec` reads them; the folder is made."""

    @staticmethod
    @abstractmethod
    def size(config: Mapping[str, Any]) -> CodecSize:
        """What the codec of a config.json needs.

        Raises:
            ValueError: If the configuration does not say.
        """

    def identity(self) -> str:
        """One line that is the same for codecs that make the same latents, and for no others: kind and fingerprint."""
        return f"{type(self).__name__} {fingerprint(self.facts(), self)}"

    def check_sides(self, images: Sequence[Pixels], because: str) -> None:
        """Refuse images that do not divide into tokens; `because` says why in the message.

        Raises:
            ValueError: If a side is not a multiple of `multiple`.
        """
        for number, image in enumerate(images):
            height, width = image.shape[1:]
            if height % self.multiple or width % self.multiple or not height or not width:
                raise ValueError(
                    f"image {number} has height {height} and width {width} pixels; both must be multiples of "
                    f"{self.multiple} ({because}), resize it with a ResizePolicy"
                )

    def check_channels(self, latents: Sequence[Latent]) -> None:
        """Refuse latents of another codec.

        Raises:
            ValueError: If one has another number of channels.
        """
        for number, latent in enumerate(latents):
            if latent.shape[0] != self.channels:
                raise ValueError(f"latent {number} has shape {tuple(latent.shape)}; expected {self.channels} channels")


def draw(moments: Moments, generator: torch.Generator | None) -> Latent:
    """A latent from its distribution.

    Args:
        moments: Of any float type.
        generator: Draws, where it lives; the mean is taken if None. A codec without a spread draws nothing.

    Returns:
        float32, shape (channels, height, width), on the device of the moments.
    """
    mean, *spread = moments.float()
    if generator is None or not spread:
        return mean
    noise = torch.randn(mean.shape, generator=generator, device=generator.device)
    return mean + spread[0] * noise.to(mean)
