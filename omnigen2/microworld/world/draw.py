"""Scenes become pixels: float in [-1, 1], channels first."""

from functools import lru_cache
from typing import TypeAlias, assert_never

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from omnigen2.microworld.world.scene import RGB, Background, Item, Scene, Shape, Texture
from omnigen2.microworld.world.shapes import REACH, Plane, coverage, tone

Pixels: TypeAlias = Float32[Tensor, "3 size size"]
Canvas: TypeAlias = Float[np.ndarray, "size size 3"]
"""A whole picture while it is made or read, channels last."""
Patch: TypeAlias = Float[np.ndarray, "height width 3"]
"""A part of one."""

TINT_STRENGTH = 0.35
"""How far a background's tint goes from grey to the full colour."""
BACKGROUND_PERIODS = 4
"""Stripes, or pairs of checks, along a side."""


def draw(scene: Scene, size: int) -> Pixels:
    """Draw a scene.

    Args:
        scene: What to draw; items later in the list cover earlier ones.
        size: Side of the picture in pixels, at least 1.

    Returns:
        In [-1, 1], shape (3, size, size).

    Raises:
        ValueError: If the size is not positive.
    """
    if size < 1:
        raise ValueError(f"a picture needs a side of at least 1 pixel, got {size}; 16, 32 and 64 are usual")
    canvas = background_canvas(scene.background, size).copy()
    for item in scene.items:
        window = Window.around(item, size)
        part = canvas[window.rows, window.columns]
        canvas[window.rows, window.columns] = window.paint(item, part)
    return torch.from_numpy(np.ascontiguousarray(canvas.transpose(2, 0, 1), dtype=np.float32))


@lru_cache(maxsize=256)
def background_canvas(background: Background, size: int) -> Canvas:
    """Draw a background, shape (size, size, 3). It is shared: copy before writing."""
    if background.tint == "grey":
        return np.zeros((size, size, 3))
    band = ((np.arange(size) + 0.5) / size * 2 * BACKGROUND_PERIODS).astype(int) % 2
    match background.pattern:
        case "plain":
            where = np.ones((size, size))
        case "striped":
            where = np.broadcast_to(1 - band[:, None], (size, size))
        case "checked":
            where = (band[:, None] + band[None, :]) % 2
        case _:
            assert_never(background.pattern)
    return TINT_STRENGTH * where[..., None] * np.array(RGB[background.tint], dtype=float)


class Window:
    """A part of the picture, with coordinates in units of one item's radius from its centre.

    Args:
        centre: Row and column of the item's centre, in pixels.
        scale: The item's radius in pixels, above 0.
    """

    def __init__(self, rows: slice, columns: slice, centre: tuple[float, float], scale: float) -> None:
        self.rows = rows
        self.columns = columns
        self.scale = scale
        self.y = ((np.arange(rows.start, rows.stop) + 0.5 - centre[0]) / scale)[:, None]
        self.x = ((np.arange(columns.start, columns.stop) + 0.5 - centre[1]) / scale)[None, :]

    @classmethod
    def around(cls, item: Item, size: int) -> "Window":
        """The window that holds all of an item."""
        centre, scale = (item.row * size, item.column * size), item.radius * size
        reach = REACH * scale + 1
        rows, columns = (slice(max(0, int(c - reach)), min(size, int(c + reach) + 1)) for c in centre)
        return cls(rows, columns, centre, scale)

    def layers(self, shape: Shape, texture: Texture) -> tuple[Plane, Plane]:
        """The share of the background that stays, and what the item's colour is multiplied by and added with."""
        covered = coverage(shape, self.x, self.y, self.scale)
        return 1 - covered, covered * tone(texture, self.x, self.y, self.scale)

    def paint(self, item: Item, behind: Patch) -> Patch:
        """The window's pixels with the item on them."""
        stays, added = self.layers(item.shape, item.texture)
        return behind * stays[..., None] + added[..., None] * np.array(RGB[item.colour], dtype=float)
