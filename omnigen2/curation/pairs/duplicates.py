"""Pictures that are nearly the same, within a set and against sets that a model is tested on; by perceptual hashes.

Flat pictures have one hash whatever their colour, so they are named and compared with nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt64
from PIL import Image

FLAT = 2.0
"""Levels, of 255: a picture whose grey levels deviate by less from their mean is flat."""
ROWS = 1024
"""Hashes that are compared with all others at a time."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two pictures that are nearly the same.

    Attributes:
        first: The name of one.
        second: The name of the other: of those it was compared with.
        bits: In which their hashes differ, of 64.
        mirrored: Whether it is the second one's mirror image that the first looks like.
    """

    first: str
    second: str
    bits: int
    mirrored: bool


@dataclass(frozen=True)
class Hashes:
    """What is remembered of a set of pictures: 16 bytes each.

    Attributes:
        names: Of those that are not flat.
        plain: Their hashes.
        mirrored: Those of their mirror images.
        flat: The names of the others.
    """

    names: tuple[str, ...]
    plain: UInt64[np.ndarray, " pictures"]
    mirrored: UInt64[np.ndarray, " pictures"]
    flat: tuple[str, ...]


def hashes(pictures: Iterable[tuple[str, Image.Image]]) -> Hashes:
    """Hash pictures by the low frequencies of their grey levels (pHash), one in memory at a time."""
    from imagehash import phash

    names: list[str] = []
    flat: list[str] = []
    found: list[tuple[int, int]] = []
    for name, picture in pictures:
        grey = picture.convert("L")
        if np.asarray(grey).std() < FLAT:
            flat.append(name)
            continue
        names.append(name)
        mirror = grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        found.append((int(str(phash(grey)), 16), int(str(phash(mirror)), 16)))
    table = np.array(found, dtype=np.uint64).reshape(-1, 2)
    return Hashes(tuple(names), table[:, 0], table[:, 1], tuple(flat))


def near_duplicates(pictures: Hashes, others: Hashes | None = None, bits: int = 6) -> tuple[Duplicate, ...]:
    """Pairs whose hashes differ in few bits.

    Args:
        pictures: A set.
        others: A set to compare it with, such as one that a model is evaluated on; by default the set itself.
        bits: The most that may differ, of 64. A copy that was cropped by 5 % differs in about 6, of another clip in
            28 or more.

    Returns:
        Each pair once, by the order of the pictures.
    """
    found: dict[tuple[int, int], Duplicate] = {}
    against = others or pictures
    for mirrored, hashed in ((False, against.plain), (True, against.mirrored)):
        for start in range(0, len(pictures.names), ROWS):
            apart = np.bitwise_count(pictures.plain[start : start + ROWS, None] ^ hashed[None])
            for row, column in np.argwhere(apart <= bits).tolist():
                first = start + row
                if (others is not None or first < column) and (first, column) not in found:
                    pair = (pictures.names[first], against.names[column])
                    found[first, column] = Duplicate(*pair, int(apart[row, column]), mirrored)
    return tuple(found[place] for place in sorted(found))
