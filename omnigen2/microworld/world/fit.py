"""One region of a picture becomes one item: every shape and texture is drawn there, and the closest one is kept."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from omnigen2.microworld.world.components import Component, Labels, box
from omnigen2.microworld.world.draw import Canvas, Patch, Window
from omnigen2.microworld.world.scene import COLOURS, RGB, Colour, Item, Shape, Texture, Vocabulary
from omnigen2.microworld.world.shapes import REACH, Plane

TOLERANCE = 0.2
"""Largest squared error of a found item, as a share of what it adds to the background. Drawn scenes stay below 0.11
at 16 pixels and 0.04 at 32 and 64; halves of shapes that look like no shape are above 0.2 at 32 and 64."""
SMALLEST_RADIUS = 0.09

PALETTE_COLOURS: tuple[Colour, ...] = tuple(sorted(COLOURS, key=RGB.__getitem__))
PALETTE: Float[np.ndarray, "8 3"] = np.array([RGB[colour] for colour in PALETTE_COLOURS], dtype=float)
"""The colours in binary order: red is the highest bit, blue the lowest."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One item that was read, and what it leaves unexplained: 0 for a perfect drawing, up to the reader's tolerance."""

    item: Item
    error: float


def cover(canvas: Patch, behind: Patch, colour: Float[np.ndarray, "*grid 3"]) -> Plane:
    """How far pixels have gone from the background to a colour.

    Args:
        canvas: The picture or a part of it, in [-1, 1].
        colour: One for all pixels, or one for each.

    Returns:
        0 at the background, 1 at the colour; may be outside of that; shape (height, width).
    """
    way = colour - behind
    return ((canvas - behind) * way).sum(-1) / (way * way).sum(-1)


class Region:
    """A connected region of one colour, and the part of the picture around it.

    Attributes:
        free: Pixels that belong to no other region.
        near: Pixels of the region, and free ones next to it.

    Args:
        canvas: The whole picture, in [-1, 1].
        numbers: Which pixel belongs to which region, 0 to none.
    """

    def __init__(self, canvas: Canvas, behind: Canvas, numbers: Labels, component: Component) -> None:
        self.size = canvas.shape[0]
        self.colour: Colour = PALETTE_COLOURS[component.label]
        first_row, first_column, last_row, last_column = box(numbers == component.number)
        margin = max(2, round(0.15 * self.size))
        self.rows, self.columns = (
            slice(max(0, first - margin), min(self.size, last + margin + 1))
            for first, last in ((first_row, last_row), (first_column, last_column))
        )
        self.canvas, self.behind = canvas[self.rows, self.columns], behind[self.rows, self.columns]
        inside = numbers[self.rows, self.columns]
        self.free = (inside == 0) | (inside == component.number)
        self.near = _grown(inside == component.number) & self.free
        share = np.clip(cover(self.canvas, self.behind, PALETTE[component.label]), 0, 1) * self.near
        self.area = float(share.sum())
        self.row = self.rows.start + 0.5 + float(share.sum(1) @ np.arange(share.shape[0])) / self.area
        self.column = self.columns.start + 0.5 + float(share.sum(0) @ np.arange(share.shape[1])) / self.area

    def error(self, window: Window, shape: Shape, texture: Texture) -> float:
        """What an item in a window leaves unexplained.

        Args:
            window: Of this region, with the item's centre and scale.

        Returns:
            Squared error as a share of the squared change that the item makes, at least 0.
        """
        stays, added = window.layers(shape, texture)
        colour = np.array(RGB[self.colour], dtype=float)
        change = added[..., None] * colour - (1 - stays)[..., None] * self.behind
        left = (self.canvas - self.behind - change)[self.near | (self.free & (stays < 1))]
        return float((left * left).sum() / (change * change).sum())


def fit(region: Region, vocabulary: Vocabulary, tolerance: float) -> Seen | None:
    """Find the item that explains a region best, if one does."""
    best: Seen | None = None
    for shape in vocabulary.shapes:
        for texture in vocabulary.textures_of(shape):
            seen = _drawn(region, shape, texture)
            if seen is not None and seen.error <= tolerance and (best is None or seen.error < best.error):
                best = seen
    return best


def _drawn(region: Region, shape: Shape, texture: Texture) -> Seen | None:
    scale = float(np.sqrt(region.area / _moments(shape, texture, 100)[0]))
    area, lower = _moments(shape, texture, max(2, round(4 * scale) / 4))
    scale = float(np.sqrt(region.area / area))
    centre = (region.row - lower * scale, region.column)
    size = region.size
    row, column, radius = centre[0] / size, centre[1] / size, scale / size
    if not (0 < row < 1 and 0 < column < 1 and SMALLEST_RADIUS <= radius < 0.5):
        return None
    error = region.error(Window(region.rows, region.columns, centre, scale), shape, texture)
    return Seen(Item(shape, region.colour, texture, row, column, radius), error)


@lru_cache(maxsize=4096)
def _moments(shape: Shape, texture: Texture, scale: float) -> tuple[float, float]:
    """What an item covers in its own colour, and how far below its centre the middle of that is, in radii.

    Small items lose more of a face to blurred edges, so it depends on the scale.
    """
    side = 2 * int(REACH * scale + 2)
    window = Window(slice(0, side), slice(0, side), (side / 2, side / 2), scale)
    share = np.clip(window.layers(shape, texture)[1], 0, 1)
    area = float(share.sum())
    return area / scale**2, float(share.sum(1) @ window.y[:, 0]) / area


def _grown(mask: Labels | np.ndarray) -> np.ndarray:
    """A mask and the pixels next to it, also across corners."""
    tall = mask.copy()
    tall[1:] |= mask[:-1]
    tall[:-1] |= mask[1:]
    wide = tall.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide
