"""Images to tensors and back."""

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

Picture: TypeAlias = Float[Tensor, "3 height width"]
"""float32 in [-1, 1] unless something else is said."""


def to_pixels(image: Image.Image) -> Float[Tensor, "3 height width"]:
    """An image as floats.

    Args:
        image: An RGB image.

    Returns:
        float32, shape (3, height, width), `2 * value / 255 - 1`, in [-1, 1].

    Raises:
        ValueError: If the image has another mode.
    """
    if image.mode != "RGB":
        raise ValueError(f"to_pixels got an image of mode {image.mode}, expected RGB; use ImageReader().to_rgb first")
    values = torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1)
    return values.to(torch.float32) / 255 * 2 - 1


def to_image(pixels: Float[Tensor, "3 height width"]) -> Image.Image:
    """Floats as an image: the inverse of `to_pixels`.

    Args:
        pixels: Shape (3, height, width) in [-1, 1], on any device; values outside are clamped.

    Returns:
        An RGB image, rounded to the nearest of 256 levels.

    Raises:
        ValueError: If a value is not a number.
    """
    values = pixels.detach().to("cpu", torch.float32)
    if values.isnan().any():
        raise ValueError("to_image got pixels that are not numbers (NaN); the model that made them has overflowed")
    levels = ((values.clamp(-1, 1) + 1) / 2 * 255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())
