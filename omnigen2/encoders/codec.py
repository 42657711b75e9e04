"""What stands between pixels and the transformer: images to latents and back."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

Pixels: TypeAlias = Float[Tensor, "3 _ _"]
"""One image in [-1, 1], shape (3, height, width)."""
Latent: TypeAlias = Float[Tensor, "_ _ _"]
"""One scaled latent image, shape (channels, height, width) in latent pixels."""
Posterior: TypeAlias = Literal["sample", "mode"]


class LatentCodec(nn.Module, ABC):
    """Encodes images as latents of about unit size, and decodes them; frozen.

    Attributes:
        channels: Channels of a latent.
        reduction: Pixels per latent pixel, in each direction.
    """

    channels: int
    reduction: int

    def train(self, mode: bool = True) -> "LatentCodec":
        """Stay in evaluation mode.

        Args:
            mode: Not used: a codec never trains.

        Returns:
            Itself.
        """
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
            images: Each of shape (3, height, width) in [-1, 1].
            posterior: Whether a codec that gives a distribution draws from it, or takes its mean.
            generators: One per image for the draw; torch's global generator if None.

        Returns:
            float32 latents of shape (channels, height / reduction, width / reduction).
        """

    @abstractmethod
    def decode(self, latents: Sequence[Latent]) -> list[Pixels]:
        """Latents to images. Gradients flow to the latents.

        Args:
            latents: Each of shape (channels, height, width) in latent pixels.

        Returns:
            float32 images of shape (3, reduction * height, reduction * width) in [-1, 1].
        """


def check_sides(images: Sequence[Pixels], multiple: int, because: str) -> None:
    """Refuse images that do not divide into tokens.

    Args:
        images: Each of shape (3, height, width).
        multiple: What both sides must be multiples of.
        because: Why, for the message.

    Raises:
        ValueError: If a side is not such a multiple.
    """
    for number, image in enumerate(images):
        height, width = image.shape[1:]
        if height % multiple or width % multiple or not height or not width:
            raise ValueError(
                f"image {number} has height {height} and width {width} pixels; both must be multiples of "
                f"{multiple} ({because}), resize it with a ResizePolicy"
            )


def check_channels(latents: Sequence[Latent], channels: int) -> None:
    """Refuse latents of another codec.

    Args:
        latents: Each of shape (channels, height, width).
        channels: What they should have.

    Raises:
        ValueError: If one has another number of channels.
    """
    for number, latent in enumerate(latents):
        if latent.shape[0] != channels:
            raise ValueError(f"latent {number} has shape {tuple(latent.shape)}; expected {channels} channels")
