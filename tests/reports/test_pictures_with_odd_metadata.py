"""A picture that every viewer shows was "broken", because of what the file says beside the pixels; or it was dark."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from omnigen2.pictures import ImageFileError, ImageReader

READ = ImageReader().read
DRAWN = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8))
LONG = zlib.compress(b"a" * 3_000_000)
NO_EXIF = b"\x00\x08\x00\x02\x01\x12\x00\x03"
NAMES = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"pHYs", b"gAMA", b"sRGB", b"cHRM", b"tIME", b"eXIf", b"bKGD", b"sBIT")
NAMES = (*NAMES, b"acTL", b"prVt")


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*chunks: bytes, behind: bool = False, image: Image.Image = DRAWN, **options) -> bytes:
    """With chunks before the pixels, or behind them."""
    whole = encoded(image, "PNG", **options)
    place = whole.index(b"IEND") - 4 if behind else 33
    return whole[:place] + b"".join(chunks) + whole[place:]


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes().removeprefix(b"Exif\0\0")


ODD = {
    "EXIF that is none": chunk(b"eXIf", NO_EXIF),
    "a text over 1 MB": chunk(b"zTXt", b"Comment\0\0" + LONG),
    "an international text over 1 MB": chunk(b"iTXt", b"Comment\0\1\0\0\0" + LONG),
    "a colour profile over 1 MB": chunk(b"iCCP", b"icc\0\0" + LONG),
    "a colour profile of no known method": chunk(b"iCCP", b"icc\0\5xx"),
    "a raw profile that is no hex": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  10\nzzzz\n"),
    "broken XMP": chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="\xff\xfe'),
    "a text whose checksum is wrong": chunk(b"tEXt", b"a\0b")[:-1] + b"x",
    "texts over 64 MB": b"".join(chunk(b"zTXt", b"C\0\0" + zlib.compress(b"a" * 900_000)) for _ in range(80)),
    **{f"an empty {name.decode()}": chunk(name, b"") for name in NAMES},
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("odd", ODD)
def test_a_png_file_is_its_pixels(odd: str, behind: bool) -> None:
    assert not ImageChops.difference(READ(png(ODD[odd], behind=behind)), DRAWN).getbbox()


@pytest.mark.parametrize("odd", ["a text over 1 MB", "a colour profile over 1 MB", "an empty pHYs"])
def test_odd_metadata_do_not_hide_which_side_is_up(odd: str) -> None:
    xmp = chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"')
    raw = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  10\n" + turned().hex().encode())
    for says in (chunk(b"eXIf", turned()), xmp, raw):
        for chunks in ((ODD[odd], says), (says, ODD[odd])):
            upright = READ(png(*chunks))
            assert np.array_equal(np.asarray(upright), np.rot90(np.asarray(DRAWN), -1))


def test_transparency_outlives_odd_metadata() -> None:
    image = Image.new("L", (4, 4), 7)
    assert READ(png(ODD["a text over 1 MB"], image=image, transparency=7)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "data",
    [
        encoded(DRAWN, "WEBP", exif=NO_EXIF, lossless=True),
        encoded(DRAWN, "WEBP", xmp=b"\xff<tiff:Orientation", icc_profile=b"x" * 3_000_000, lossless=True),
        encoded(DRAWN, "TIFF", icc_profile=b"x" * 3_000_000, dpi=(0, 0)),
        encoded(DRAWN, "TIFF", tiffinfo={34665: 10**8}),  # where EXIF should be, behind the file's end
        encoded(DRAWN, "BMP", dpi=(0, 0)),
        encoded(DRAWN, "PNG", dpi=(0, 0)),
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_other_formats_too(data: bytes) -> None:
    assert not ImageChops.difference(READ(data), DRAWN).getbbox()


@pytest.mark.parametrize("options", [{"exif": b"Exif\0\0" + NO_EXIF}, {"icc_profile": b"x" * 500_000}, {"dpi": (0, 0)}])
def test_jpeg_and_gif_open(options) -> None:
    assert READ(encoded(DRAWN, "JPEG", **options)).size == DRAWN.size
    assert READ(encoded(DRAWN, "GIF", comment=b"\xff" * 5000)).size == DRAWN.size


@pytest.mark.parametrize("odd", ["a text over 1 MB", "EXIF that is none"])
@pytest.mark.parametrize("behind", [False, True])
def test_half_a_picture_is_refused_whatever_else_is_odd(odd: str, behind: bool, tmp_path: Path) -> None:
    whole = png(ODD[odd], behind=behind)
    (tmp_path / "half.png").write_bytes(whole[: whole.index(b"IDAT") + 100])
    with pytest.raises(ImageFileError, match=r"half\.png cannot be read \(.*repair, convert or remove it"):
        READ(tmp_path / "half.png")


def tiff(
    levels: Sequence[int], bits: int, tags: dict[int, int | Sequence[int]], order: str = "<", channels: int = 1
) -> bytes:
    """An uncompressed picture of one row, written by hand: Pillow writes but few of them."""
    if bits == 12:
        packed = "".join(f"{level:03x}" for level in levels)
        data = bytes.fromhex(packed)
    elif bits < 8:
        data = int("".join(f"{level:0{bits}b}" for level in levels).ljust(8, "0"), 2).to_bytes(1)
    else:
        data = struct.pack(f"{order}{len(levels)}{'H' if bits == 16 else 'B'}", *levels)
    width = len(levels) // channels
    said = {256: width, 257: 1, 258: [bits] * channels, 259: 1, 273: 8, 277: channels, 278: 1, 279: len(data), **tags}
    entries, tail, after = b"", b"", 8 + len(data)
    for tag, value in sorted(said.items()):
        values = [value] if isinstance(value, int) else list(value)
        inline = struct.pack(f"{order}{len(values)}H", *values)
        if len(inline) > 4:
            inline, tail = struct.pack(f"{order}I", after + len(tail)), tail + inline
        entries += struct.pack(f"{order}HHI", tag, 3, len(values)) + inline.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", after + len(tail))
    return head + data + tail + struct.pack(f"{order}H", len(said)) + entries + bytes(4)


def row(data: bytes) -> list[int]:
    image = READ(data)
    assert all(len(set(image.getpixel((x, 0)))) == 1 for x in range(image.width))
    return [image.getpixel((x, 0))[0] for x in range(image.width)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("bits", "levels", "grey"),
    [
        (1, [0, 1, 0, 1], [0, 255, 0, 255]),
        (4, [0, 15], [0, 255]),
        (8, [0, 64, 128, 255], [0, 64, 128, 255]),
        (12, [0, 1024, 2048, 4095], [0, 64, 128, 255]),
        (16, [0, 257, 32896, 65535], [0, 1, 128, 255]),
    ],
)
def test_grey_of_any_number_of_bits_has_its_brightness(bits: int, levels, grey, order: str) -> None:
    if (bits, order) != (12, ">"):  # Pillow knows it in one order of bytes, and refuses the other
        assert row(tiff(levels, bits, {262: 1}, order)) == grey
    if bits != 12 and (bits, order) != (16, ">"):
        assert row(tiff(levels, bits, {262: 0}, order)) == [255 - level for level in grey]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (tiff([0, 200], 8, {}), "no tag that says whether 0 is black or white"),
        (tiff([0, 200], 16, {}), "no tag that says whether 0 is black or white"),
        (tiff([0, 200], 8, {262: 1, 339: 2}), "signed numbers as pixels"),
        (tiff([0, 200], 16, {262: 1, 339: 2}), "pixels of mode I"),
        (tiff([0, 1], 8, {262: 3, 320: [*range(256)] * 3}), "a palette of numbers below 256"),
        (encoded(Image.new("CMYK", (8, 8)), "JPEG").replace(b"Adobe", b"Other"), "no mark that says whether they are"),
    ],
)
def test_a_picture_whose_white_nobody_knows_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ImageFileError, match=f"image holiday has .*{problem}.*; convert it to RGB"):
        READ(data, name="holiday")


def test_pixels_with_a_wrong_checksum_are_no_picture() -> None:
    """A bit that flipped on the way gives another picture, which Pillow opens without a word."""
    whole = png(chunk(b"tEXt", b"a\0b"), behind=True)
    first = whole.index(b"IDAT")
    checksum = first + 4 + int.from_bytes(whole[first - 4 : first])
    for place in (checksum, 16 + 12):  # of the pixels; and one in the header, its interlacing being no part of the size
        damaged = bytearray(whole)
        damaged[place] ^= 1
        with pytest.raises(ImageFileError, match=r"image file holiday is damaged \(the checksum of its I(DAT|HDR)"):
            READ(bytes(damaged), name="holiday")
    assert READ(whole + b"what somebody has written behind the end").tobytes() == DRAWN.tobytes()


def test_colours_of_more_bits_and_of_inks() -> None:
    rgb = tiff([0, 32896, 65535, 65535, 257, 0], 16, {262: 2}, channels=3)
    assert list(READ(rgb).tobytes()) == [0, 128, 255, 255, 1, 0]
    assert list(READ(tiff([0, 0, 0, 255, 0, 0, 0, 0], 8, {262: 5}, channels=4)).tobytes()) == [0] * 3 + [255] * 3
    assert list(READ(tiff([0, 0, 0, 65535], 16, {262: 5}, channels=4)).tobytes()) == [0] * 3
    assert READ(encoded(Image.new("CMYK", (8, 8)), "JPEG")).getpixel((0, 0)) == (255, 255, 255)
    premultiplied = tiff([100, 0, 0, 128], 8, {262: 2, 338: 1}, channels=4)
    assert READ(premultiplied).getpixel((0, 0)) == (227, 127, 127)
    assert READ(tiff([0, 1], 8, {262: 3, 320: [0, *[65535] * 255] * 3})).tobytes() == b"\0\0\0\xff\xff\xff"
    light, dark = (READ(tiff([level, 0, 0], 8, {262: 8}, channels=3)).getpixel((0, 0)) for level in (255, 0))
    assert min(light) > 250
    assert max(dark) < 5


def test_deep_grey_is_turned_and_transparent_as_any_other() -> None:
    deep = Image.fromarray(np.array([[514, 65535]], dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert READ(encoded(deep, "PNG", exif=exif)).size == (1, 2)
    assert READ(encoded(deep, "TIFF", tiffinfo={274: 3})).tobytes() == b"\xff" * 3 + b"\2" * 3
