"""The world's reader in the place of detector, tracker and embedder, with errors at a chosen rate."""

from collections.abc import Iterable, Iterator, Sequence
from math import hypot

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad
from typing_extensions import override

from omnigen2.curation.models import Box, Detector, Embedder, Found, Mask, Tracker
from omnigen2.curation.steps import box_of
from omnigen2.curation.video import Pixels
from omnigen2.microworld.curated.chance import chance, check_shares
from omnigen2.microworld.curated.sight import at_box, mask_of, name_of, reading
from omnigen2.microworld.world import Item

PLACES = 12
"""Rows and columns of what the embedder sees."""
NEAR = 0.12
"""A thing of another colour is the same one if it is no farther from where it was, as a share of the side."""


class MicroDetector(Detector):
    """Finds the things that have the names.

    Args:
        wrong: The share of names that give the box of another thing, or none where there is no other.
        seed: Of which ones.
    """

    def __init__(self, wrong: float = 0.0, seed: int = 0) -> None:
        check_shares(self, {"wrong": wrong})
        self.wrong, self.seed = wrong, seed

    @override
    def find(self, picture: Pixels, names: Sequence[str]) -> Sequence[Found]:
        seen, found = reading(picture).seen, list[Found]()
        for name in names:
            rng = chance(self.seed, name, picture.tobytes())
            right = [one for one in seen if name_of(one.item) == name]
            if rng.random() < self.wrong:
                others = [one for one in seen if one not in right]
                right = [others[int(rng.integers(len(others)))]] if others else []
            found += [Found(name, box_of(mask_of(one.item, len(picture))), 1 - one.error) for one in right]
        return found


class MicroTracker(Tracker):
    """Follows things by their looks, and through a change of colour by their places.

    Args:
        wrong: The share of subjects of which another thing is followed after the first frame, where there is one.
        cut: The share of subjects whose masks leave out their lower half.
        seed: Of which ones.
    """

    def __init__(self, wrong: float = 0.0, cut: float = 0.0, seed: int = 0) -> None:
        check_shares(self, {"wrong": wrong, "cut": cut})
        self.wrong, self.cut, self.seed = wrong, cut, seed

    @override
    def track(
        self, frames: Iterable[Pixels], boxes: Sequence[Box]
    ) -> Iterator[Bool[np.ndarray, "subjects height width"]]:
        followed: list[Item | None] = []
        strays, cuts = list[bool](), list[bool]()
        for number, picture in enumerate(frames):
            items, size = reading(picture).items, len(picture)
            if not number:
                rngs = [chance(self.seed, str(box), picture.tobytes()) for box in boxes]
                strays, cuts = ([rng.random() < share for rng in rngs] for share in (self.wrong, self.cut))
                followed = [at_box(items, box, size) for box in boxes]
                here = followed
            else:
                here = [None if one is None else _next(one, items) for one in followed]
                if number == 1:
                    here = [_other(one, items) if stray else one for one, stray in zip(here, strays, strict=True)]
                followed = [now or before for now, before in zip(here, followed, strict=True)]
            yield np.array([_mask(one, size, half) for one, half in zip(here, cuts, strict=True)], dtype=bool).reshape(
                len(boxes), *picture.shape[:2]
            )


class MicroEmbedder(Embedder):
    """Which colours are where in a picture, whatever its size: things of another colour or shape are far apart."""

    @override
    def __call__(self, pictures: Sequence[Tensor]) -> Float[Tensor, "pictures features"]:
        places = [adaptive_avg_pool2d(picture, PLACES).flatten() for picture in pictures]
        return pad(torch.stack(places), (0, 1), value=1e-3)  # grey has a direction too


def _next(before: Item, items: Sequence[Item]) -> Item | None:
    """What a thing has become: the nearest one that looks like it, else one of its shape that is where it was."""

    def far(item: Item) -> float:
        return hypot(item.row - before.row, item.column - before.column)

    like = [one for one in items if name_of(one) == name_of(before)]
    there = [one for one in items if (one.shape, one.texture) == (before.shape, before.texture) and far(one) < NEAR]
    return min(like or there, key=far, default=None)


def _other(right: Item | None, items: Sequence[Item]) -> Item | None:
    """The first of the others: the one that is followed by mistake."""
    return next((item for item in items if item != right), right)


def _mask(item: Item | None, size: int, half: bool) -> Mask:
    mask = np.zeros((size, size), dtype=bool) if item is None else mask_of(item, size)
    if half and item is not None:
        mask[round(item.row * size) :] = False
    return mask
