"""What the tests of the micro-world share."""

import numpy as np
from hypothesis import strategies as st

from omnigen2.microworld.world import EASY, IMAGE_SIZES, ImageSize, Item, Reading, Scene, Vocabulary, full_vocabulary

sizes = st.sampled_from(IMAGE_SIZES)
seeds = st.integers(0, 2**32 - 1)
worlds: st.SearchStrategy[tuple[ImageSize, Vocabulary]] = sizes.flatmap(
    lambda size: st.sampled_from(((size, full_vocabulary(size)), (size, EASY)))
)
"""An image size and a vocabulary that is exact there."""


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def looks(items: tuple[Item, ...]) -> list[tuple[str, ...]]:
    """Everything about items that has a name, in no order."""
    return sorted((item.shape, item.colour, item.texture, item.size, item.place) for item in items)


def is_exact(reading: Reading, scene: Scene) -> bool:
    """Whether a reading has every item where it is and as it is, the background, and nothing more."""
    if not reading.readable or reading.background != scene.background or len(reading.items) != len(scene.items):
        return False
    return all(any(_same(item, found) for found in reading.items) for item in scene.items)


def _same(item: Item, found: Item) -> bool:
    named = (item.shape, item.colour, item.texture, item.size) == (found.shape, found.colour, found.texture, found.size)
    near = abs(item.row - found.row) + abs(item.column - found.column) < 0.03
    return named and near and abs(item.radius - found.radius) < 0.015
