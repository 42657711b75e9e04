"""Picture files of all formats with damaged contents or metadata: refused, or the picture that they were made from."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from omnigen2.pictures import ImageReader
from tests.fuzz.attempt import Case
from tests.fuzz.damage import bytes_damaged

SIZE = (24, 17)
LOSSY = ("jpeg", "webp lossy")


@cache
def drawing() -> Image.Image:
    """Soft in colour, and unlike itself turned or flipped."""
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    levels = np.stack([rows * 14, columns * 10, 255 - rows * 7 - columns * 5], axis=-1)
    return Image.fromarray(levels.astype(np.uint8), "RGB")


def saved(image: Image.Image, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@cache
def valid() -> dict[str, bytes]:
    """Pictures by name, all of them readable, some grey."""
    image, grey = drawing(), drawing().convert("L")
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cube", zip=True)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x0132] = 1, "a cube", "2024:01:01 00:00:00"
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    return {
        "png": saved(image, "PNG"), "png exif": saved(image, "PNG", exif=exif, pnginfo=text, dpi=(72, 72)),
        "png grey": saved(grey, "PNG"), "png 16 bits": saved(deep, "PNG"),
        "png palette": saved(image.quantize(64), "PNG"), "png alpha": saved(image.convert("RGBA"), "PNG"),
        "jpeg": saved(image, "JPEG", quality=95, subsampling=0),
        "jpeg exif": saved(image, "JPEG", quality=95, subsampling=0, exif=exif, comment=b"x", dpi=(72, 72)),
        "jpeg grey": saved(grey, "JPEG", quality=95),
        "jpeg progressive": saved(image, "JPEG", quality=95, progressive=True),
        "webp": saved(image, "WEBP", lossless=True), "webp exif": saved(image, "WEBP", lossless=True, exif=exif),
        "webp lossy": saved(image, "WEBP", quality=95), "gif": saved(image.quantize(64), "GIF"),
        "bmp": saved(image, "BMP"), "tiff": saved(image, "TIFF"),
        "tiff lzw": saved(image, "TIFF", compression="tiff_lzw"),
        "tiff 16 bits": saved(deep, "TIFF"), "ppm": saved(image, "PPM"),
    }  # fmt: skip


@cache
def shown(name: str) -> Image.Image:
    """The picture that a valid file shows."""
    return ImageReader().read(valid()[name])


def cases(seed: int) -> Iterator[Case]:
    rng = Random(f"images {seed}")
    while True:
        name = rng.choice(list(valid()))
        how, content, judge = rng.choice(DAMAGES)(name, rng)
        yield f"{name}: {how}", attempt(content, name, judge)


def attempt(content: bytes, name: str, judged: bool) -> Callable[[], None]:
    def call() -> None:
        image = ImageReader(max_pixels=1 << 22).read(content)
        assert image.mode == "RGB", f"accepted as {image.mode}"
        if judged:
            apart = min(map(distance(shown(name)), turned(image)))
            assert apart <= (12 if name.startswith(LOSSY) else 0), (
                f"accepted as another picture, {apart:.3g} levels apart"
            )

    return call


def turned(image: Image.Image) -> list[Image.Image]:
    """As an orientation may turn it: damaged metadata may say another one than was written."""
    return [image, *(image.transpose(way) for way in Image.Transpose)]


def distance(expected: Image.Image) -> Callable[[Image.Image], float]:
    wanted = np.asarray(expected).astype(float)

    def apart(image: Image.Image) -> float:
        found = np.asarray(image).astype(float)
        return float(np.abs(found - wanted).mean()) if found.shape == wanted.shape else 255.0

    return apart


Damaged = tuple[str, bytes, bool]
"""What was done, the file, and whether a picture that opens must be the one that it was made from."""


def anywhere(name: str, rng: Random) -> Damaged:
    return (*bytes_damaged(valid()[name], rng), False)


def in_the_head(name: str, rng: Random) -> Damaged:
    return (*bytes_damaged(valid()[name], rng, head=64), False)


def truncated(name: str, rng: Random) -> Damaged:
    """What opens although its end is missing must be the whole picture."""
    content = valid()[name]
    end = rng.randrange(len(content))
    return f"truncated at {end} of {len(content)}", content[:end], True


def more(name: str, rng: Random) -> Damaged:
    return "something behind its end", valid()[name] + rng.randbytes(rng.randint(1, 300)), True


def metadata(name: str, rng: Random) -> Damaged:
    """Damaged or added metadata, in whole chunks or segments: they say nothing about pixels."""
    content, junk = valid()[name], rng.randbytes(rng.choice((0, 1, 7, 60)))
    if name.startswith("png"):
        kind = rng.choice((b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"pHYs", b"tIME", b"gAMA", b"vpAg"))
        return f"{kind.decode()} of {len(junk)} bytes", content[:33] + chunk(kind, junk) + content[33:], True
    if name.startswith("jpeg"):
        marker = rng.choice((0xE0, 0xE1, 0xE2, 0xED, 0xFE))
        start = rng.choice((b"", b"Exif\0\0", b"JFIF\0", b"ICC_PROFILE\0"))
        body = start + junk
        segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
        return f"segment {marker:02x} {start!r}", content[:2] + segment + content[2:], True
    return more(name, rng)


def checked(name: str, rng: Random) -> Damaged:
    """Damaged inside of what carries a checksum of its own."""
    if not name.startswith("png"):
        return truncated(name, rng)
    content = bytearray(valid()[name])
    start = content.index(b"IDAT") + 4
    place = rng.randrange(start, start + struct.unpack_from(">I", content, start - 8)[0])
    content[place] ^= 1 << rng.randrange(8)
    return f"IDAT flipped at {place}", bytes(content), True


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


DAMAGES = (anywhere, in_the_head, truncated, metadata, metadata, checked, more)
