"""What a mixture holds: counts, tasks, sizes, and a picture of some of its samples."""

from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

import numpy as np

from omnigen2.data.samples import DataError, Sample, Size, Source
from omnigen2.files import check_most
from omnigen2.pictures import ImageReader, Panel, Section, sheet_png, to_pixels

Value = TypeVar("Value")
LARGEST = 320
"""Longest side in pixels of a picture as it is handed to the sheet, which shows it smaller still."""


@dataclass(frozen=True)
class Summary:
    """What a source holds.

    Attributes:
        samples: Number of samples.
        tasks: Number of samples of each task.
        references: How many samples have how many references.
        text_tokens: Smallest, median and largest upper bound.
        targets: Smallest, median and largest target by pixels, (height, width); empty if there are none.
        first_with_most: The key of the first sample with the most references.
    """

    samples: int
    tasks: dict[str, int]
    references: dict[int, int]
    text_tokens: tuple[int, int, int]
    targets: tuple[Size, ...]
    first_with_most: str

    @property
    def most_references(self) -> int:
        """The largest number of references of a sample."""
        return max(self.references)


def summarise(source: Source) -> Summary:
    """Count what a source holds, by its sizes.

    Raises:
        DataError: If there are no samples.
    """
    if not len(source):
        raise DataError("the source has no samples; fill it")
    words: Counter[int] = Counter()
    targets: Counter[int] = Counter()
    counts: Counter[int] = Counter()
    for block in source.blocks():
        sizes = block.targets[block.targets[:, 0] > 0].astype(np.int64)
        for counter, values in (
            (words, block.text_tokens),
            (targets, sizes[:, 0] << 32 | sizes[:, 1]),
            (counts, block.counts),
        ):
            counter.update(dict(zip(*map(np.ndarray.tolist, np.unique(values, return_counts=True)), strict=True)))
    drawn = {(key >> 32, key & (2**32 - 1)): number for key, number in targets.items()}
    ordered = sorted(drawn, key=lambda size: (size[0] * size[1], size))
    return Summary(
        samples=len(source),
        tasks=dict(Counter(source.tasks()).most_common()),
        references=dict(sorted(counts.items())),
        text_tokens=(min(words), _middle(sorted(words), words), max(words)),
        targets=(ordered[0], _middle(ordered, drawn), ordered[-1]) if ordered else (),
        first_with_most=source[source.envelope().first_with_most].key,
    )


def _middle(ordered: Sequence[Value], counts: Mapping[Value, int]) -> Value:
    """The value in the middle, the larger one of two."""
    ends = list(accumulate(counts[value] for value in ordered))
    return ordered[bisect(ends, ends[-1] // 2)]


def contact_sheet(sources: dict[str, Source], each: int, seed: int, reader: ImageReader) -> bytes:
    """Draw random samples of each source: references and target, and the words below.

    Args:
        sources: By name.
        each: Samples of each source, at least 1; fewer where it has fewer.
        seed: Of the choice.
        reader: Decodes the images.

    Returns:
        A PNG file.

    Raises:
        DataError: If `each` is below 1 or too large, or the seed is below 0.
    """
    check_most("each", each, 10_000, DataError)
    if each < 1 or seed < 0:
        raise DataError(
            f"a contact sheet needs at least 1 sample of each source, got {each}, and a seed from 0: {seed}"
        )
    sections: list[Section] = []
    for name, source in sources.items():
        chosen = np.random.default_rng(seed).permutation(len(source))[:each]
        panels = tuple(_panel(source[int(index)], reader) for index in chosen)
        sections.append(Section(f"{name}: {len(source)} samples", panels))
    return sheet_png("", sections)


def _panel(sample: Sample, reader: ImageReader) -> Panel:
    names = [f"reference {number}" for number in range(1, len(sample.references) + 1)]
    names += [] if sample.target is None else ["target"]
    images = [reader.read(image, f"of {sample.key}" if isinstance(image, bytes) else None) for image in sample.images]
    for image in images:
        image.thumbnail((LARGEST, LARGEST))
    words = sample.instruction if sample.answer is None else f"{sample.instruction} > {sample.answer}"
    shown = tuple((name, to_pixels(image)) for name, image in zip(names, images, strict=True))
    return Panel("", shown, words, f"{sample.task}, {sample.key}")
