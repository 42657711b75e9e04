"""What image files say beside their pixels. Pictures do not depend on it, but for which side is up."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedIOBase

from PIL import Image
from PIL.ImageFile import ImageFile

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DRAWN = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
"""Chunks of a PNG file that belong to its pixels, although readers may do without them."""
EMPTY = 12
"""Bytes of a chunk without content."""
TURNED = (b"Raw profile type exif\0", b"Raw profile type APP1\0", b"XML:com.adobe.xmp\0")
"""Beginnings of texts in a PNG file that may say which side is up."""
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's orientation; an upright picture has 1, or none."""
SIDEWAYS = tuple(TURNS[orientation] for orientation in (5, 6, 7, 8))
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
)
"""What Pillow raises on metadata that are something else than they say."""


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """How a loaded picture has to be turned to stand upright; not at all if its metadata cannot be read."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except UNREADABLE:
        return None


def load(image: ImageFile) -> None:
    """Decode the pixels; the metadata of PNG and TIFF, which Pillow reads when it has them, may be anything."""
    read_on = image.load_end

    def tolerant() -> None:
        with suppress(*UNREADABLE):
            read_on()

    if image.format in ("PNG", "TIFF"):  # in others, this does a part of the pixels' work
        image.load_end = tolerant
    image.load()


def damage(file: BufferedIOBase) -> str:
    """Which part of a PNG file's pixels has a wrong checksum, which Pillow does not compare; empty if none has."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return ""
    for chunk in _chunks(SIGNATURE + file.read()):
        name, whole = chunk[4:8], len(chunk) == EMPTY + int.from_bytes(chunk[:4])
        if whole and _is_drawn(chunk) and zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):
            return f"the checksum of its {name.decode('latin-1')} is wrong"
        if name == b"IEND":
            break
    return ""


def plainer(content: bytes) -> Iterator[bytes]:
    """A PNG file with fewer metadata, then with none: what to try if it cannot be read as it is.

    Yields:
        Files with the same pixels: nothing of other formats, and nothing twice.
    """
    if not content.startswith(SIGNATURE):
        return
    chunks = list(_chunks(content))
    for kept in (_says_what_is_up, _is_drawn):
        less = SIGNATURE + b"".join(chunk for chunk in chunks if kept(chunk))
        if less != content:
            yield less


def _chunks(content: bytes) -> Iterator[bytes]:
    """Each whole: length, name, content and checksum. The last one may be cut off."""
    start = len(SIGNATURE)
    while start + 8 <= len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4])
        yield content[start:end]
        start = end


def _is_drawn(chunk: bytes) -> bool:
    """Whether the pixels depend on it: a capital at the beginning says so of most, and not of empty ones."""
    name = chunk[4:8]
    return not name[:1].islower() or (name in DRAWN and len(chunk) > EMPTY)


def _says_what_is_up(chunk: bytes) -> bool:
    return _is_drawn(chunk) or chunk[4:8] == b"eXIf" or chunk[8:].startswith(TURNED)
