"""Reading image files of any kind, or saying why not."""

import io
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from PIL import Image, UnidentifiedImageError

from omnigen2.errors import UserError
from omnigen2.pictures.deep import is_deep, to_8_bits, unknown_white
from omnigen2.pictures.metadata import SIDEWAYS, damage, load, plainer, turn_of

AnimatedImages: TypeAlias = Literal["refuse", "first_frame"]

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
"""Formats that are read, as far as Pillow was built with them (MPO photos are opened as JPEG). Others are refused:
some of Pillow's plugins start other programs."""
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
"""Kinds of pixels that become RGB; those of 16-bit grey are scaled first."""
DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    ArithmeticError,
    LookupError,
    TypeError,
    RuntimeError,
    Image.DecompressionBombError,
)
"""What Pillow raises on broken files."""


class ImageFileError(UserError):
    """An image file that cannot be used; the message names the file, the reason and what to do."""


@dataclass(frozen=True)
class ImageReader:
    """Turns image files into upright RGB images, the same way everywhere.

    - EXIF orientation is applied.
    - Transparent pixels are laid over `background` (the official code shows whatever colour hides below them).
    - Grey, palette and black-and-white images become RGB; grey of 12 and 16 bits is scaled to 8 bits (the official code
      clips it to white), and turned where 0 is white; CMYK is converted without colour management. Images whose white
      nobody knows are refused: floats, signed and 32-bit integers, TIFF without a photometric tag, CMYK in JPEG without
      Adobe's mark.
    - Metadata that cannot be read are passed over: then the picture is upright as it lies.
    - Animations are refused, or their first frame is taken, by choice. A photo with previews (MPO) counts as a photo.
    - Broken, truncated and oversized files are refused.

    Attributes:
        background: (red, green, blue) in 0…255 under transparent pixels; white by default.
        animated: `"refuse"` or `"first_frame"`.
        max_pixels: Largest picture that is decoded, in pixels: files can unpack to a thousand times their size.
            Pillow has a limit of its own (`PIL.Image.MAX_IMAGE_PIXELS`), which must be raised too to go above 178
            million.

    Raises:
        ValueError: If a value is out of range.
    """

    background: tuple[int, int, int] = (255, 255, 255)
    animated: AnimatedImages = "refuse"
    max_pixels: int = 89_478_485

    def __post_init__(self) -> None:
        if not all(0 <= value <= 255 for value in self.background):
            raise ValueError(f"background must be three numbers from 0 to 255, got {self.background}")
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be at least 1, got {self.max_pixels}")

    def read(self, file: str | Path | bytes, name: str | None = None) -> Image.Image:
        """Read an image file, given as a path or by its contents, as an upright RGB image in memory.

        Args:
            name: What messages call it; the path by default.

        Raises:
            ImageFileError: If it cannot be used.
        """
        called = name or ("<bytes>" if isinstance(file, bytes) else str(file))
        source = io.BytesIO(file) if isinstance(file, bytes) else Path(file)
        if isinstance(source, Path) and not source.is_file():
            raise ImageFileError(f"there is no image file {called}; check the path")
        Image.init()
        try:
            with io.BytesIO(file) if isinstance(file, bytes) else open(file, "rb") as content:
                problem = damage(content)
            if problem:
                raise ImageFileError(f"image file {called} is damaged ({problem}); copy it anew, repair or remove it")
            return self._opened(source, called)
        except ImageFileError:
            raise
        except DECODING_ERRORS as error:
            if (image := self._opened_without_metadata(file, called)) is not None:
                return image
            reason = "of no known format" if isinstance(error, UnidentifiedImageError) else error
            raise ImageFileError(
                f"image file {called} cannot be read ({reason}); it is broken, truncated, too large or no "
                f"{'/'.join(FORMATS)} file: repair, convert or remove it"
            ) from error

    def stated_size(self, file: str | Path | bytes) -> tuple[int, int] | None:
        """(height, width) upright that an image file says it has, even if it cannot be decoded; None if it is none."""
        source = io.BytesIO(file) if isinstance(file, bytes) else Path(file)
        Image.init()
        kinds = [kind for kind in FORMATS if kind in Image.OPEN]
        with suppress(*DECODING_ERRORS), Image.open(source, formats=kinds) as image:
            width, height = image.size
            on_its_side = turn_of(image) in SIDEWAYS and image.format != "TIFF"  # TIFF is told upright
            return (width, height) if on_its_side else (height, width)
        return None

    def to_rgb(self, image: Image.Image, name: str = "<image>") -> Image.Image:
        """Turn an image in memory, its current frame, upright and into RGB without metadata.

        Raises:
            ImageFileError: If its mode has no defined range of values.
        """
        problem, turn = unknown_white(image), turn_of(image)
        if not is_deep(image) and image.mode not in MODES:
            problem = f"pixels of mode {image.mode}, which have no defined black and white"
        if problem:
            raise ImageFileError(f"image {name} has {problem}; convert it to RGB, or to grey of 8 or 16 bits")
        image = to_8_bits(image) if is_deep(image) else image
        image = image if turn is None else image.transpose(turn)
        if image.has_transparency_data:
            behind = Image.new("RGBA", image.size, (*self.background, 255))
            image = Image.alpha_composite(behind, image.convert("RGBA"))
        rgb = image.convert("RGB")
        return Image.frombytes("RGB", rgb.size, rgb.tobytes())

    def _opened(self, source: Path | io.BytesIO, name: str) -> Image.Image:
        with Image.open(source, formats=[kind for kind in FORMATS if kind in Image.OPEN]) as image:
            self._check(image, name)
            load(image)
            return self.to_rgb(image, name)

    def _opened_without_metadata(self, file: str | Path | bytes, name: str) -> Image.Image | None:
        """The picture, if only its metadata cannot be read; None if it is something else."""
        for content in plainer(file if isinstance(file, bytes) else Path(file).read_bytes()):
            with suppress(*DECODING_ERRORS):
                return self._opened(io.BytesIO(content), name)
        return None

    def _check(self, image: Image.Image, name: str) -> None:
        width, height = image.size
        if width * height > self.max_pixels:
            count = f"{width}x{height} = {width * height}"
            raise ImageFileError(
                f"image file {name} has {count} pixels, at most {self.max_pixels} are taken",
                "shrink it",
                {"max_pixels": "raise {}"},
            )
        frames: int = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO" and self.animated == "refuse":
            raise ImageFileError(
                f"image file {name} has {frames} frames",
                "save the one that is meant as a picture",
                {"animated": "set {} to first_frame"},
            )
