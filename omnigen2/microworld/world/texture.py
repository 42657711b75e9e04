"""How far a plain background is from flat: what a reader that looks for items does not see."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from omnigen2.microworld.world.components import box
from omnigen2.microworld.world.draw import background_canvas
from omnigen2.microworld.world.read import find_regions, to_canvas
from omnigen2.microworld.world.scene import Background

BORDER = 2
"""Pixels around an item's box that its blurred edge may reach."""


def background_texture(pixels: Float[Tensor, "3 size size"], background: Background) -> float | None:
    """The mean distance of a plain background's bare pixels from its flat colour, per channel.

    Bare is what is outside of the boxes around all regions that are large enough for an item, wherever they are: the
    picture need not show the items that it should.

    Args:
        pixels: In [-1, 1]; what is outside is clipped, NaN counts as grey. Shape (3, size, size).
        background: What the scene that was asked for has behind its items. Another colour than its own counts as well.

    Returns:
        In [0, 2], and 0 for drawn scenes; None if the background has a pattern, or no pixel is bare.
    """
    if background.pattern != "plain":
        return None
    canvas = to_canvas(pixels)
    flat = background_canvas(background, canvas.shape[0])
    regions, numbers = find_regions(canvas, flat)
    bare = np.ones(numbers.shape, dtype=bool)
    for region in regions:
        top, left, bottom, right = box(numbers == region.number)
        bare[max(0, top - BORDER) : bottom + BORDER + 1, max(0, left - BORDER) : right + BORDER + 1] = False
    return float(np.abs(canvas - flat)[bare].mean()) if bare.any() else None
