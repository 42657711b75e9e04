"""A folder of pictures, each with its caption in a text file of the same name: `cat.jpg` beside `cat.txt`."""

from collections.abc import Iterator
from pathlib import Path

from omnigen2.data.samples import BadRecord, DataError, Sample

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm")
CAPTION = ".txt"
LISTS = (".jsonl", ".json")
"""Endings of files that list samples."""


def has_captions(folder: Path) -> bool:
    """Whether a folder, or one below it, has a picture with a caption, and no lists that say otherwise."""
    if not folder.is_dir() or any(True for ending in LISTS for _ in folder.rglob(f"*{ending}")):
        return False
    return any(picture and caption for picture, caption in _pairs(folder))


def count_captions(folder: Path) -> int:
    """How many records `read_captions` yields."""
    return sum(1 for _ in _pairs(folder))


def read_captions(folder: Path) -> Iterator[Sample | BadRecord]:
    """Read the captions of a folder and of those below it.

    Yields:
        A sample of text to image for each picture. A picture without a caption, and a caption without a picture, are
        bad records.
    """
    for picture, caption in _pairs(folder):
        if picture is None:
            problem = "there is no picture of this name beside the text; add it, or move the text away"
            yield BadRecord(caption or folder, 0, problem)
            continue
        try:
            yield _sample(picture, caption, picture.relative_to(folder.parent).as_posix())
        except DataError as error:
            yield BadRecord(picture, 0, str(error))


def _pairs(folder: Path) -> Iterator[tuple[Path | None, Path | None]]:
    """Pictures with their captions, sorted, then captions without pictures."""
    pictures, captions = _files(folder, PICTURES), _files(folder, (CAPTION,))
    texts = {caption.with_suffix(""): caption for caption in captions}
    for picture in pictures:
        yield picture, texts.get(picture.with_suffix(""))
    described = {picture.with_suffix("") for picture in pictures}
    yield from ((None, caption) for stem, caption in texts.items() if stem not in described)


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() in endings and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


def _sample(picture: Path, caption: Path | None, key: str) -> Sample:
    if caption is None:
        raise DataError(f"it has no caption {picture.with_suffix(CAPTION).name}", "write one, or move the picture away")
    try:
        text = caption.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"its caption {caption.name} cannot be read ({error})", "write it in UTF-8") from error
    return Sample("text_to_image", text, target=picture, key=key)
