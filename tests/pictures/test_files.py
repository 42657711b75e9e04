"""Image files of every kind, whole and broken: read, or refused by name."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnigen2.pictures import ImageFileError, ImageReader

READ = ImageReader().read
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")


def noise(mode: str = "RGB", size: tuple[int, int] = (19, 13)) -> Image.Image:
    channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "CMYK": (4,)}[mode]
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    return Image.frombytes(mode, size, values.tobytes())


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


WHOLE = {kind: encoded(noise(), kind) for kind in FORMATS}
WHOLE["CMYK"] = encoded(noise("CMYK"), "JPEG")
WHOLE["PNG alpha"] = encoded(noise("RGBA"), "PNG")
WHOLE["PNG palette"] = encoded(noise().quantize(16), "PNG", transparency=3)
WHOLE["TIFF packed"] = encoded(noise(), "TIFF", compression="tiff_lzw")


def read_or_refused(data: bytes) -> Image.Image | None:
    """Nothing but a picture or a clear refusal may come of any bytes."""
    try:
        image = READ(data, name="holiday.png")
    except ImageFileError as error:
        assert "holiday.png" in str(error)  # noqa: PT017
        return None
    assert image.mode == "RGB"
    assert min(image.size) >= 1
    return image


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_files_are_read(kind: str) -> None:
    image = read_or_refused(WHOLE[kind])
    assert image is not None
    assert image.size == (19, 13)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_files_are_read_exactly(kind: str) -> None:
    assert np.array_equal(np.asarray(READ(WHOLE[kind])), np.asarray(noise()))


@given(kind=st.sampled_from(tuple(WHOLE)), keep=st.floats(0, 1, exclude_max=True))
def test_truncated_files(kind: str, keep: float) -> None:
    read_or_refused(WHOLE[kind][: int(len(WHOLE[kind]) * keep)])


@given(kind=st.sampled_from(tuple(WHOLE)), where=st.floats(0, 1, exclude_max=True), new=st.binary(min_size=1))
def test_damaged_files(kind: str, where: float, new: bytes) -> None:
    data = WHOLE[kind]
    at = int(len(data) * where)
    read_or_refused(data[:at] + new + data[at + len(new) :])


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    assert read_or_refused(data) is None


@given(
    kind=st.sampled_from((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\x00\x00\x00\x00WEBP", b"II*\0"))
)
def test_headers_without_a_picture(kind: bytes) -> None:
    assert read_or_refused(kind + b"\0" * 64) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_half_file_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "half.img"
    path.write_bytes(WHOLE[kind][: len(WHOLE[kind]) // 2])
    with pytest.raises(ImageFileError, match=r"image file .*half\.img cannot be read .* repair, convert or remove it"):
        READ(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(ImageFileError, match=f"there is no image file {path}; check the path"):
            READ(path)


def test_formats_that_start_other_programs_are_refused() -> None:
    with pytest.raises(ImageFileError, match="<bytes> cannot be read"):
        READ(encoded(noise(), "EPS"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_stand_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = READ(encoded(noise(), "PNG", exif=exif))
    assert turned.size == ((19, 13) if orientation < 5 else (13, 19))
    assert turned.getexif().get(0x0112) is None
    if orientation == 6:
        assert np.array_equal(np.asarray(turned), np.rot90(np.asarray(noise()), -1))


def test_transparency_shows_the_background() -> None:
    clear = Image.new("RGBA", (2, 1), (200, 0, 0, 0))
    clear.putpixel((1, 0), (0, 0, 200, 255))
    assert list(READ(encoded(clear, "PNG")).tobytes()) == [255, 255, 255, 0, 0, 200]
    half = Image.new("LA", (1, 1), (0, 128))
    assert READ(encoded(half, "PNG")).getpixel((0, 0)) == (127, 127, 127)
    green = ImageReader(background=(0, 255, 0))
    assert green.read(encoded(clear, "PNG")).getpixel((0, 0)) == (0, 255, 0)
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([9, 9, 9])
    assert READ(encoded(palette, "GIF", transparency=0)).getpixel((0, 0)) == (255, 255, 255)
    keyed = Image.new("RGB", (1, 1), (1, 2, 3))
    assert READ(encoded(keyed, "PNG", transparency=(1, 2, 3))).getpixel((0, 0)) == (255, 255, 255)


def test_grey_palettes_and_black_and_white() -> None:
    assert READ(encoded(Image.new("L", (1, 1), 77), "PNG")).getpixel((0, 0)) == (77, 77, 77)
    assert READ(encoded(Image.new("1", (1, 1), 1), "PNG")).getpixel((0, 0)) == (255, 255, 255)
    assert READ(encoded(Image.new("RGB", (1, 1), (3, 4, 5)).quantize(2), "PNG")).getpixel((0, 0)) == (3, 4, 5)
    assert READ(encoded(Image.new("CMYK", (1, 1), (0, 0, 0, 255)), "TIFF")).getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_not_clipped(kind: str) -> None:
    """The official code shows everything above 255 of 65535 as white."""
    deep = Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=np.uint16))
    image = READ(encoded(deep, kind))
    assert [image.getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]


def test_transparent_16_bit_grey() -> None:
    deep = Image.fromarray(np.array([[514, 1028]], dtype=np.uint16))
    deep.info["transparency"] = 514
    assert list(ImageReader().to_rgb(deep).tobytes()) == [255, 255, 255, 4, 4, 4]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_images_without_a_white_are_refused(mode: str) -> None:
    with pytest.raises(ImageFileError, match=f"image <bytes> has pixels of mode {mode}, which have no defined"):
        READ(encoded(Image.new(mode, (2, 2)), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_are_refused_or_give_their_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageFileError, match=r"film has 3 frames\n  save .*, or set animated to first_frame"):
        READ(data, name="film")
    red, green, blue = ImageReader(animated="first_frame").read(data).getpixel((4, 4))
    assert red > 240
    assert max(green, blue) < 15


def test_a_photo_with_previews_is_a_photo() -> None:
    data = encoded(noise(), "MPO", save_all=True, append_images=[noise()])
    assert READ(data).size == (19, 13)


def test_pictures_that_unpack_too_large_are_refused() -> None:
    with pytest.raises(ImageFileError, match="bomb has 19x13 = 247 pixels, at most 246 are taken"):
        ImageReader(max_pixels=246).read(WHOLE["PNG"], name="bomb")
    huge = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(huge) < 100_000
    with pytest.raises(ImageFileError, match="bomb cannot be read .*too large"):
        READ(huge, name="bomb")


def test_readers_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"from 0 to 255, got \(0, 0, 256\)"):
        ImageReader(background=(0, 0, 256))
    with pytest.raises(ValueError, match="max_pixels must be at least 1, got 0"):
        ImageReader(max_pixels=0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_stated_size_is_that_of_the_picture_also_of_half_a_file(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    whole = encoded(noise(size=(80, 60)), kind, exif=exif)
    image = READ(whole)
    assert ImageReader().stated_size(whole) == (image.height, image.width)
    if kind in ("PNG", "JPEG"):
        half = whole[: len(whole) // 2]
        assert read_or_refused(half) is None
        assert ImageReader().stated_size(half) == (image.height, image.width)
    assert ImageReader().stated_size(b"something else") is None
