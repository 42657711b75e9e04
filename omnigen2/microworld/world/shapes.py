"""The geometry of the shapes and of what is painted on them, as anti-aliased coverage.

Coordinates are in units of the radius, from the centre, x to the right and y downwards. The width of a pixel's
edge is one pixel whatever the radius, so everything that turns a distance into a coverage knows the scale.
"""

from typing import TypeAlias, assert_never

import numpy as np
from jaxtyping import Float

from omnigen2.microworld.world.scene import Shape, Texture

Plane: TypeAlias = Float[np.ndarray, "height width"]
Across: TypeAlias = Float[np.ndarray, "1 width"]
Down: TypeAlias = Float[np.ndarray, "height 1"]

REACH = 1.15
"""No shape goes further from its centre, in radii, along an axis."""
STRIPE_TONE = 0.55
STRIPE_PERIOD = 0.8
FACE_TONE = 0.0
"""Eyes and mouth are grey."""


def distance(shape: Shape, x: Across, y: Down) -> Plane:
    """How far outside of a shape points are, in radii; negative inside.

    Args:
        x: Columns, shape (1, width).
        y: Rows, shape (height, 1).

    Returns:
        Exact near edges, a lower bound near corners; shape (height, width).
    """
    match shape:
        case "circle":
            return np.hypot(x, y) - 1
        case "square":
            return _box(x, y, 0.85, 0.85)
        case "triangle":
            slope = np.hypot(1.65, 0.95)
            return np.maximum(y - 0.55, (1.65 * np.abs(x) - 0.95 * (y + 1.1)) / slope)
        case "cross":
            return np.minimum(_box(x, y, 1.0, 0.33), _box(x, y, 0.33, 1.0))
        case "ring":
            return np.abs(np.hypot(x, y) - 0.775) - 0.225
        case _:
            assert_never(shape)


def coverage(shape: Shape, x: Across, y: Down, scale: float) -> Plane:
    """Share of each pixel that a shape covers, shape (height, width); `scale` is pixels per radius."""
    return _filled(distance(shape, x, y), scale)


def tone(texture: Texture, x: Across, y: Down, scale: float) -> Plane:
    """What the colour is multiplied by where the shape is.

    Args:
        scale: Pixels per radius.

    Returns:
        1 where nothing is painted, down to `STRIPE_TONE` on a stripe and `FACE_TONE` in a face;
        shape (height, width).
    """
    match texture:
        case "plain":
            return np.ones(np.broadcast_shapes(x.shape, y.shape))
        case "striped":
            wave = np.abs((y / STRIPE_PERIOD) % 1 - 0.5) - 0.25
            stripes = _filled(wave * STRIPE_PERIOD + 0 * x, scale)
            return 1 - (1 - STRIPE_TONE) * stripes
        case "face":
            across = np.abs(x)
            eyes = np.hypot(across - 0.38, y + 0.3) - 0.17
            mouth = _box(across, y - 0.36, 0.34, 0.11)
            return 1 - (1 - FACE_TONE) * _filled(np.minimum(eyes, mouth), scale)
        case _:
            assert_never(texture)


def _box(x: Across, y: Down, half_width: float, half_height: float) -> Plane:
    return np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)


def _filled(outside: Plane, scale: float) -> Plane:
    return np.clip(0.5 - outside * scale, 0, 1)
