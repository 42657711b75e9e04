"""What a mixture holds: counts, tasks, sizes, and a picture of some of its samples."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from omnigen2.data.samples import DataError, Sample, Size, Source
from omnigen2.pictures import ImageReader

CELL = 160
"""Side of one picture of a contact sheet, in pixels."""
GAP = 8
LINE = 14
TEXT_LINES = 3
PAPER, INK, FRAME = (255, 255, 255), (30, 30, 30), (190, 60, 40)


@dataclass(frozen=True)
class Summary:
    """What a source holds.

    Attributes:
        samples: Number of samples.
        tasks: Number of samples of each task.
        references: How many samples have how many references.
        text_tokens: Smallest, median and largest upper bound.
        targets: Smallest, median and largest target by pixels, (height, width); empty if there are none.
    """

    samples: int
    tasks: dict[str, int]
    references: dict[int, int]
    text_tokens: tuple[int, int, int]
    targets: tuple[Size, ...]


def summarise(source: Source) -> Summary:
    """Count what a source holds, by its sizes.

    Args:
        source: Any.

    Returns:
        Counts and ranges.

    Raises:
        DataError: If there are no samples.
    """
    if not len(source):
        raise DataError("the source has no samples; fill it")
    sizes = [source.sizes(index) for index in range(len(source))]
    words = sorted(size.text_tokens for size in sizes)
    targets = sorted((size.target for size in sizes if size.target is not None), key=lambda s: (s[0] * s[1], s))
    return Summary(
        samples=len(sizes),
        tasks=dict(Counter(source.task(index) for index in range(len(source))).most_common()),
        references=dict(sorted(Counter(len(size.references) for size in sizes).items())),
        text_tokens=(words[0], int(median(words)), words[-1]),
        targets=(targets[0], targets[len(targets) // 2], targets[-1]) if targets else (),
    )


def contact_sheet(sources: dict[str, Source], each: int, seed: int, reader: ImageReader) -> Image.Image:
    """Draw random samples of each source: references, then the target in a red frame, and the words below.

    Args:
        sources: By name.
        each: Samples of each source, at least 1; fewer where it has fewer.
        seed: Of the choice.
        reader: Decodes the images.

    Returns:
        An RGB picture.

    Raises:
        DataError: If `each` is below 1.
    """
    if each < 1:
        raise DataError(f"a contact sheet needs at least 1 sample of each source, got {each}")
    strips: list[Image.Image] = []
    for name, source in sources.items():
        generator = np.random.default_rng(seed)
        chosen = generator.permutation(len(source))[:each]
        cells = [_cell(source[int(index)], reader) for index in chosen]
        strips.append(_rows([_title(f"{name}: {len(source)} samples"), *_wrap(cells)]))
    return _rows(strips)


def _cell(sample: Sample, reader: ImageReader) -> Image.Image:
    """One sample: its pictures side by side, and below what was asked and answered."""
    images = [reader.read(image, f"of {sample.key}" if isinstance(image, bytes) else None) for image in sample.images]
    width = max(len(images), 1) * (CELL + GAP) + GAP
    cell = Image.new("RGB", (width, CELL + 2 * GAP + (TEXT_LINES + 1) * LINE), PAPER)
    pen, font = ImageDraw.Draw(cell), ImageFont.load_default(11)
    for place, image in enumerate(images):
        scale = CELL / max(image.size)
        # small pictures are enlarged without smoothing, so that every pixel can be seen
        way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
        shown = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), way)
        left, top = GAP + place * (CELL + GAP), GAP
        cell.paste(shown, (left, top))
        if sample.target is not None and place == len(images) - 1:
            box = (left - 2, top - 2, left + shown.width + 1, top + shown.height + 1)
            pen.rectangle(box, outline=FRAME, width=2)
    words = sample.instruction if sample.answer is None else f"{sample.instruction} > {sample.answer}"
    lines = textwrap.wrap(words, width=max(10, width // 6), max_lines=TEXT_LINES, placeholder=" …")
    for number, line in enumerate((f"{sample.task}  {sample.key}", *lines)):
        colour = (120, 120, 120) if number == 0 else INK
        pen.text((GAP, CELL + 2 * GAP + number * LINE), line, fill=colour, font=font)
    return cell


def _title(text: str) -> Image.Image:
    font = ImageFont.load_default(15)
    title = Image.new("RGB", (int(font.getlength(text)) + 2 * GAP, 2 * GAP + 15), PAPER)
    ImageDraw.Draw(title).text((GAP, GAP), text, fill=INK, font=font)
    return title


def _wrap(cells: Sequence[Image.Image], width: int = 1400) -> list[Image.Image]:
    """Cells beside one another, in as many rows as needed."""
    rows: list[list[Image.Image]] = [[]]
    for cell in cells:
        if rows[-1] and sum(other.width for other in rows[-1]) + cell.width > width:
            rows.append([])
        rows[-1].append(cell)
    return [_beside(row) for row in rows]


def _beside(images: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (sum(image.width for image in images), max(image.height for image in images)), PAPER)
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width
    return sheet


def _rows(images: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (max(image.width for image in images), sum(image.height for image in images)), PAPER)
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height
    return sheet
