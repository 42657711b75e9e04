"""Grey of more than 8 bits, and pictures of which it has to be known which number is white."""

from typing import Any

import numpy as np
from PIL import Image

BITS, PHOTOMETRIC, COLOUR_MAP, SAMPLE_FORMAT = 258, 262, 320, 339
"""Tags of TIFF files."""
WHITE_IS_ZERO = 0
UNSIGNED = 1


def is_deep(image: Image.Image) -> bool:
    """Whether the pixels are grey of more than 8 bits, with a white that is known."""
    # Pillow opens 16-bit grey PNG and PPM as 32-bit integers in some versions
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def unknown_white(image: Image.Image) -> str:
    """Why nobody can say which number is white; empty if it is known, or for the mode alone to say."""
    if image.format in ("JPEG", "MPO"):
        # programs differ on whether the inks of such a file are inverted, as Adobe's are
        unmarked = image.mode == "CMYK" and "adobe" not in image.info
        return "four inks, and no mark that says whether they are inverted (Adobe's)" if unmarked else ""
    if image.format != "TIFF":
        return ""
    formats = _tag(image, SAMPLE_FORMAT, (UNSIGNED,))
    if any(one != UNSIGNED for one in (formats if isinstance(formats, tuple) else (formats,))):
        return "signed numbers as pixels, which have no defined black and white"  # 8 bits are read as unsigned
    if _tag(image, PHOTOMETRIC, None) is None:
        return "no tag that says whether 0 is black or white"
    palette = _tag(image, COLOUR_MAP, ())
    if isinstance(palette, tuple) and 0 < max(palette, default=0) < 256:
        return "a palette of numbers below 256, which TIFF means to be nearly black (white is 65535)"
    return ""


def to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 12 or 16 bits as grey of 8, black at 0, with alpha where one value is marked as transparent."""
    bits = _tag(image, BITS, (16,))
    white = 2 ** int(bits[0] if isinstance(bits, tuple) else bits) - 1
    values = np.asarray(image).astype(np.int64)
    levels = (values * 255 / white).round().clip(0, 255)
    if _tag(image, PHOTOMETRIC, 1) == WHITE_IS_ZERO:
        levels = 255 - levels
    grey = Image.fromarray(levels.astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _tag(image: Image.Image, number: int, default: Any) -> Any:
    """A tag of a TIFF file; the default of other formats, and where it is missing."""
    tags = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    return default if tags is None else tags.get(number, default)
