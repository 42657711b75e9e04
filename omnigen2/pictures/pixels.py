"""Pixels in [-1, 1] to levels of 0…255 and back: the one place where this is done."""

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

Picture: TypeAlias = Float[Tensor, "3 height width"]
"""float32 in [-1, 1] unless something else is said."""


def to_levels(pixels: Picture) -> UInt8[Tensor, "height width 3"]:
    """Floats in [-1, 1] as the nearest of 256 levels, on the CPU; values outside are clamped.

    Raises:
        ValueError: If a value is not a number.
    """
    values = pixels.detach().to("cpu", torch.float32)
    if values.isnan().any():
        raise ValueError("there are pixels that are not numbers (NaN); the model that made them has overflowed")
    return ((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).contiguous()


def to_pixels(image: Image.Image) -> Picture:
    """An RGB image as floats, `value / 127.5 - 1`.

    Raises:
        ValueError: If the image has another mode.
    """
    if image.mode != "RGB":
        raise ValueError(f"to_pixels got an image of mode {image.mode}, expected RGB; use ImageReader().to_rgb first")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.float32) / 127.5 - 1


def to_image(pixels: Picture) -> Image.Image:
    """Floats as an RGB image: the inverse of `to_pixels`, by `to_levels`."""
    return Image.fromarray(to_levels(pixels).numpy())
