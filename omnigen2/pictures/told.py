"""Picture files that hold words: what made them. In PNG a text chunk, in JPEG and WebP the user comment of EXIF."""

from pathlib import Path
from typing import Any, cast

from PIL import Image, PngImagePlugin
from PIL.ExifTags import IFD

from omnigen2.pictures.metadata import UNREADABLE

FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""By the ending of a name. JPEG changes pixels a little; PNG and WebP keep each as it is."""
USER_COMMENT = 0x9286
ENCODING = b"ASCII\0\0\0"
"""In front of a user comment in plain letters."""
LONGEST = 60_000
"""Letters that fit beside a picture in JPEG."""


def save_told(image: Image.Image, file: Path, ending: str, key: str, words: str) -> None:
    """Write a picture.

    Args:
        image: RGB.
        file: Where.
        ending: One of `FORMATS`.
        key: What the words are called.
        words: In ASCII, but for PNG.

    Raises:
        ValueError: If the words are too long for a file of this format.
    """
    kind = FORMATS[ending]
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt(key, words)
        image.save(file, format=kind, pnginfo=chunks)
        return
    if len(words) > LONGEST:
        raise ValueError(f"{len(words)} letters do not fit into a {kind} file; write a PNG file")
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[USER_COMMENT] = ENCODING + f"{key} {words}".encode("ascii")
    ways: dict[str, Any] = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True}
    image.save(file, format=kind, exif=exif, **ways)


def read_told(path: Path, key: str) -> str | None:
    """The words of this key in a picture file; None if there are none.

    Raises:
        UnidentifiedImageError: If it is no PNG, JPEG or WebP file.
        OSError: If it is damaged.
    """
    with Image.open(path, formats=tuple(set(FORMATS.values()))) as image:
        image.load()
        if image.format == "PNG":
            return cast(Any, image).text.get(key)
        try:
            said: object = image.getexif().get_ifd(IFD.Exif).get(USER_COMMENT)
        except UNREADABLE:
            return None
    opening = ENCODING + f"{key} ".encode()
    if not isinstance(said, bytes) or not said.startswith(opening):
        return None
    return said.removeprefix(opening).decode("ascii", "replace")
