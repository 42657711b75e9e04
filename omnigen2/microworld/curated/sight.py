"""What the stand-ins see: pixels alone, read by the world's rules."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from omnigen2.curation import Dropped
from omnigen2.curation.models import Box, Mask
from omnigen2.curation.steps import box_of, shared
from omnigen2.curation.video import Pixels
from omnigen2.microworld.world import Item, Reading, Scene, Window, describe, draw, read
from omnigen2.pictures import to_pixels

FAR = 0.12
"""Mean distance from a background at which it is none: uneven ground is 0.06 from its own, another pattern 0.2."""
UNREADABLE = "a picture that cannot be read"


def reading(picture: Pixels | Any) -> Reading:
    """What is in a picture.

    Args:
        picture: uint8, or a picture of Pillow, square; nothing is found in others.
    """
    pixels = np.asarray(picture)
    if pixels.shape[0] != pixels.shape[1]:
        return Reading((), None, 0)
    return _read(pixels.tobytes(), len(pixels))


@lru_cache(maxsize=1024)
def _read(levels: bytes, size: int) -> Reading:
    """Steps look at one frame many times."""
    canvas = to_pixels(Image.frombytes("RGB", (size, size), levels))
    found = read(canvas)
    if found.background is None:
        return found
    bare = ~np.logical_or.reduce([mask_of(item, size) for item in found.items] or [np.zeros((size, size), bool)])
    apart = (canvas - draw(Scene((), found.background), size)).abs().mean(0).numpy()
    return found if apart[bare].mean() <= FAR else replace(found, background=None)


def scene_of(picture: Pixels | Any) -> Scene | Dropped:
    """The scene that a picture shows, or why it shows none that is known."""
    found = reading(picture)
    if found.background is None or found.unknown:
        return Dropped(UNREADABLE)
    try:
        return Scene(found.items, found.background)
    except ValueError as error:  # more items than there can be, or of the background's colour
        return Dropped(UNREADABLE, str(error))


def name_of(item: Item) -> str:
    """An item in words that tell it from everything else in its scene."""
    return describe(item.shape, item.colour, item.texture, first="the")


def mask_of(item: Item, size: int) -> Mask:
    """The pixels that an item touches."""
    mask = np.zeros((size, size), dtype=bool)
    window = Window.around(item, size)
    mask[window.rows, window.columns] = window.layers(item.shape, item.texture)[0] < 1
    return mask


def at_mask(items: Sequence[Item], mask: Mask) -> Item | None:
    """The item that is most of what a mask is on, or None."""
    size = mask.shape[0]
    shares = [overlap(mask_of(item, size), mask) for item in items]
    best = max(range(len(items)), key=shares.__getitem__, default=None)
    return None if best is None or shares[best] < 0.5 else items[best]


def at_box(items: Sequence[Item], box: Box, size: int) -> Item | None:
    """The item that a box is around, or None."""
    shares = [shared(box_of(mask_of(item, size)), box) for item in items]
    best = max(range(len(items)), key=shares.__getitem__, default=None)
    return None if best is None or shares[best] < 0.5 else items[best]


def overlap(one: Mask, other: Mask) -> float:
    """How much two masks share of what either is on; 0 if both are on nothing."""
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else 0.0
