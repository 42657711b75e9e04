"""Pictures that are nearly the same, within a set and against sets that a model is tested on; by perceptual hashes.

Flat pictures have one hash whatever their colour, so they are named and compared with nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import UInt64
from PIL import Image

from omnigen2.curation.items import CurationError

FLAT = 2.0
"""Levels, of 255: a picture whose grey levels deviate by less from their mean is flat."""
QUARTER = 16
"""Bits of a quarter of a hash."""
MOST_BITS = 16
"""In which near copies may differ: with more, searching would take longer than comparing each with each."""


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


class HashIndex:
    """Finds hashes that differ in few bits, without comparing each with each.

    If two differ in at most `bits`, then at least one of their four quarters differs in at most `bits // 4`: quarters
    are looked up with all changes of so many bits.

    Args:
        bits: The most that may differ, of 64.

    Raises:
        CurationError: If that is less than 0 or more than `MOST_BITS`.
    """

    def __init__(self, bits: int = 6) -> None:
        if not 0 <= bits <= MOST_BITS:
            raise CurationError(f"hashes of near copies cannot differ in {bits} bits", f"give 0 to {MOST_BITS}")
        self.bits = bits
        self._hashes: list[int] = []
        self._tables: list[dict[int, list[int]]] = [{}, {}, {}, {}]
        changed = [places for count in range(bits // 4 + 1) for places in combinations(range(QUARTER), count)]
        self._changes = [sum(1 << place for place in places) for places in changed]

    def add(self, hashed: int) -> None:
        """Remember one more; they are numbered as they come."""
        for number, table in enumerate(self._tables):
            table.setdefault(_quarter(hashed, number), []).append(len(self._hashes))
        self._hashes.append(hashed)

    def near(self, hashed: int) -> list[tuple[int, int]]:
        """The numbers of those that are near, in their order, each with the bits in which it differs."""
        found: dict[int, int] = {}
        for number, table in enumerate(self._tables):
            quarter = _quarter(hashed, number)
            for change in self._changes:
                for other in table.get(quarter ^ change, ()):
                    apart = (hashed ^ self._hashes[other]).bit_count()
                    if apart <= self.bits:
                        found[other] = apart
        return sorted(found.items())


def _quarter(hashed: int, number: int) -> int:
    return hashed >> QUARTER * number & (1 << QUARTER) - 1


def picture_hashes(picture: Image.Image) -> tuple[int, int] | None:
    """The hashes of a picture and of its mirror image, by the low frequencies of its grey levels (pHash).

    Returns:
        None if it is flat: then it would be like every other flat picture.
    """
    from imagehash import phash

    grey = picture.convert("L")
    if np.asarray(grey).std() < FLAT:
        return None
    mirror = grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return int(str(phash(grey)), 16), int(str(phash(mirror)), 16)


def hashes(pictures: Iterable[tuple[str, Image.Image]]) -> Hashes:
    """Hash pictures, one in memory at a time."""
    return hashes_of((name, picture_hashes(picture)) for name, picture in pictures)


def hashes_of(pictures: Iterable[tuple[str, tuple[int, int] | None]]) -> Hashes:
    """Of pictures that have their hashes already; None is a flat one."""
    named = list(pictures)
    whole = [(name, hashed) for name, hashed in named if hashed is not None]
    table = np.array([hashed for _, hashed in whole], dtype=np.uint64).reshape(-1, 2)
    flat = tuple(name for name, hashed in named if hashed is None)
    return Hashes(tuple(name for name, _ in whole), table[:, 0], table[:, 1], flat)


def near_duplicates(pictures: Hashes, others: Hashes | None = None, bits: int = 6) -> tuple[Duplicate, ...]:
    """Pairs whose hashes differ in few bits.

    Args:
        pictures: A set.
        others: A set to compare it with, such as one that a model is evaluated on; by default the set itself.
        bits: The most that may differ, of 64. A copy that was cropped by 5 % differs in about 6, of another clip in
            28 or more.

    Returns:
        Each pair once, by the order of the pictures.

    Raises:
        CurationError: If `bits` is less than 0 or more than `MOST_BITS`.
    """
    found: dict[tuple[int, int], Duplicate] = {}
    against = others or pictures
    for mirrored, hashed in ((False, against.plain), (True, against.mirrored)):
        index = HashIndex(bits)
        for other in hashed.tolist():
            index.add(other)
        for first, mine in enumerate(pictures.plain.tolist()):
            for second, apart in index.near(mine):
                if (others is not None or first < second) and (first, second) not in found:
                    pair = (pictures.names[first], against.names[second])
                    found[first, second] = Duplicate(*pair, apart, mirrored)
    return tuple(found[place] for place in sorted(found))
