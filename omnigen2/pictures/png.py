"""Pictures as PNG files and back, for the wire."""

import base64
import binascii
import io

import torch
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from omnigen2.pictures.files import ImageFileError
from omnigen2.pictures.pixels import Picture, to_image, to_pixels


def to_png(picture: Picture) -> bytes:
    """Encode a picture as a PNG file of 8 bits per channel, nearest levels.

    Args:
        picture: Finite, shape (3, height, width), on any device; clipped to [-1, 1].
    """
    file = io.BytesIO()
    to_image(picture).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def from_png(data: bytes, most_pixels: int) -> Picture:
    """Decode a picture.

    Args:
        data: A PNG file in RGB.
        most_pixels: Larger pictures are refused before they are decoded.

    Returns:
        In [-1, 1], float32, shape (3, height, width).

    Raises:
        ImageFileError: If it is something else, damaged, or too large.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > most_pixels:
                raise ImageFileError(
                    f"a picture has {image.width} × {image.height} pixels, at most {most_pixels} are taken",
                    "send a smaller one",
                )
            if image.mode != "RGB":
                raise ImageFileError(f"a picture has mode {image.mode}", "send RGB")
            return to_pixels(image)
    except ImageFileError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageFileError(
            f"a picture is no PNG file that can be read ({type(error).__name__})", "send PNG"
        ) from None


def shrink(picture: Picture, longest: int | None) -> Float[Tensor, "3 _ _"]:
    """Scale a picture down, antialiased, keeping its proportions.

    Args:
        picture: Shape (3, height, width).
        longest: The longer side afterwards, in pixels; None and smaller pictures leave it as it is.
    """
    height, width = picture.shape[1:]
    if longest is None or max(height, width) <= longest:
        return picture
    scale = longest / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return torch.nn.functional.interpolate(picture[None].float(), size, mode="bicubic", antialias=True)[0]


def data_url(png: bytes) -> str:
    """A PNG file as a `data:` URL."""
    return f"data:image/png;base64,{to_base64(png)}"


def to_base64(png: bytes) -> str:
    """A PNG file as base64."""
    return base64.b64encode(png).decode()


def from_base64(text: str) -> bytes:
    """What `to_base64` has written.

    Raises:
        ImageFileError: If it is no base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ImageFileError("a picture is no base64", "encode the PNG file with it") from None
