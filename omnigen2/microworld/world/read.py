"""A picture becomes a scene again, by rules: regions of one colour, then analysis by synthesis.

For each region every shape and texture is drawn at the region's own area and centre, and the one that leaves the
least error is what was seen, if the error is small. There is no network and no randomness, and no picture is
refused for its content: what cannot be read is not found.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.microworld.world.components import Box, Component, Labels, box, components
from omnigen2.microworld.world.draw import Canvas, background_canvas
from omnigen2.microworld.world.fit import PALETTE, TOLERANCE, Region, Seen, cover, fit
from omnigen2.microworld.world.scene import BACKGROUNDS, Background, Item, Scene, Vocabulary, full_vocabulary

COVERED = 0.4
"""Pixels that are covered by more than this share belong to an item."""
LARGEST_BACKGROUND_ERROR = 0.3
"""Mean distance per channel of a background that was recognised."""
SMALLEST_AREA = 0.012
"""Regions below this share of the picture are specks."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read from a picture.

    Attributes:
        seen: The items that were found, in reading order.
        background: None if it is none of the known ones.
        unknown: Regions that are large enough for an item but look like none.
    """

    seen: tuple[Seen, ...]
    background: Background | None
    unknown: int

    @property
    def items(self) -> tuple[Item, ...]:
        """The items that were found."""
        return tuple(one.item for one in self.seen)

    @property
    def readable(self) -> bool:
        """Whether everything in the picture was recognised."""
        return self.background is not None and self.unknown == 0

    @classmethod
    def of(cls, scene: Scene) -> "Reading":
        """The reading that a perfect drawing of a scene gives."""
        return cls(tuple(Seen(item, 0.0) for item in scene.items), scene.background, 0)


SMALLEST_PICTURE = 8
"""In pixels a side. In a smaller picture a constant colour cannot be told from an item, so nothing is found."""


def read(
    pixels: Float[Tensor, "3 size size"], vocabulary: Vocabulary | None = None, tolerance: float = TOLERANCE
) -> Reading:
    """Read a picture.

    Args:
        pixels: In [-1, 1]; what is outside is clipped, NaN counts as grey. Shape (3, size, size).
        vocabulary: What can be seen; by default everything that is exact at this size.
        tolerance: The largest error of an item that is found, see `TOLERANCE`; a higher one also finds items that a
            small model has drawn badly, and takes more halves and blots for items.
    """
    canvas = to_canvas(pixels)
    known = vocabulary or full_vocabulary(16 if canvas.shape[0] < 32 else 64)
    background = read_background(canvas)
    if canvas.shape[0] < SMALLEST_PICTURE:
        return Reading((), background, 0)
    behind = background_canvas(background or BACKGROUNDS[0], canvas.shape[0])
    regions, numbers = find_regions(canvas, behind)
    boxes = {region.number: box(numbers == region.number) for region in regions}
    outer = [r for r in regions if not any(_within(boxes[r.number], boxes[o.number]) for o in regions)]
    numbers = np.where(np.isin(numbers, [region.number for region in outer]), numbers, 0)
    found = [fit(Region(canvas, behind, numbers, region), known, tolerance) for region in outer]
    seen = tuple(one for one in found if one is not None)
    return Reading(seen, background, len(found) - len(seen))


def to_canvas(pixels: Float[Tensor, "3 size size"]) -> Canvas:
    """Channels last, in [-1, 1]; NaN counts as grey."""
    clean = torch.nan_to_num(pixels.detach().to("cpu", torch.float64), nan=0.0).clamp(-1, 1)
    return clean.permute(1, 2, 0).numpy()


def find_regions(canvas: Canvas, behind: Canvas) -> tuple[tuple[Component, ...], Labels]:
    """The regions of one colour that are large enough for an item, and which pixel belongs to which; 0 to none."""
    labels = (canvas > 0) @ np.array([4, 2, 1])
    covered = cover(canvas, behind, PALETTE[labels]) > COVERED
    return components(np.where(covered, labels, -1), max(2, round(SMALLEST_AREA * labels.size)))


def read_background(canvas: Canvas) -> Background | None:
    """Find the known background that is closest; None if none is close where no item seems to be."""
    step = max(1, canvas.shape[0] // 32)
    templates = _background_templates(canvas.shape[0])[:, ::step, ::step]
    apart = np.abs(canvas[::step, ::step] - templates).mean(axis=-1)
    best = int(np.minimum(apart, 0.5).mean(axis=(1, 2)).argmin())
    bare = apart[best] < 0.5
    if bare.mean() < 0.1 or apart[best][bare].mean() > LARGEST_BACKGROUND_ERROR:
        return None
    return BACKGROUNDS[best]


def _within(inner: Box, outer: Box) -> bool:
    """Whether a box is strictly inside another: then it is part of what is drawn on an item, such as its eyes."""
    return outer[0] < inner[0] and outer[1] < inner[1] and inner[2] < outer[2] and inner[3] < outer[3]


@lru_cache(maxsize=8)
def _background_templates(size: int) -> Float[np.ndarray, "backgrounds size size 3"]:
    return np.stack([background_canvas(background, size) for background in BACKGROUNDS])
