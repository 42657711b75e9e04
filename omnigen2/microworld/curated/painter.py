"""The world's own painter: new backgrounds around things, and backgrounds or other things in their place."""

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from omnigen2.curation.models import Filler, Mask
from omnigen2.curation.steps import box_of
from omnigen2.curation.video import Pixels
from omnigen2.microworld.curated.chance import chance, check_shares
from omnigen2.microworld.curated.sight import reading
from omnigen2.microworld.video import VocabularyName, vocabulary_named
from omnigen2.microworld.world import GREY, Background, Item, Scene, choose, draw, pairs_on
from omnigen2.pictures import to_levels

REACH = 1.15
"""How far a thing goes from its centre, in radii."""
SMALLEST = 0.12
"""No thing of a smaller radius is drawn."""


class MicroFiller(Filler):
    """Fills most of a picture with another background of the world, and a smaller part with the one that is there.

    Args:
        things: The share of smaller fillings that get a thing too, if it has room.
        wrong: The share of fillings that are done badly: what is kept grows beyond its border, or half of what should
            be painted over stays.
        vocabulary: Of what is painted.
        seed: Of which ones; pictures are decided by the seed that steps give.
    """

    def __init__(
        self, things: float = 0.0, wrong: float = 0.0, vocabulary: VocabularyName = "full", seed: int = 0
    ) -> None:
        check_shares(self, {"things": things, "wrong": wrong})
        self.things, self.wrong, self.seed = things, wrong, seed
        self._known = vocabulary_named(vocabulary, 64)

    @override
    def _filled(self, picture: Pixels, mask: Mask, prompt: str, seed: int) -> Pixels:
        shown = picture.tobytes() + mask.tobytes()
        wrong = chance(self.seed, "wrong", shown).random() < self.wrong
        rng = chance(seed, prompt, shown)
        seen = reading(picture)
        if mask.mean() > 0.5:
            behind = choose(self._others(seen.background, seen.items), rng)
            painted = _drawn(Scene((), behind), picture)
            return _grown(painted, picture, ~mask) if wrong else painted
        behind = seen.background
        if behind is None:
            painted = np.broadcast_to(picture[~mask].mean(0).round().astype(np.uint8), picture.shape).copy()
        else:
            thing = self._thing(mask, behind, seen.items, rng) if rng.random() < self.things else ()
            painted = _drawn(Scene(thing, behind), picture)
        if wrong:
            _, top, _, bottom = box_of(mask)
            middle = round((top + bottom) / 2)
            painted[middle:] = picture[middle:]
        return painted

    def _others(self, behind: Background | None, items: Sequence[Item]) -> list[Background]:
        """Backgrounds that are another one, and of another colour than all things; grey if there is none."""
        colours = {item.colour for item in items}
        return [one for one in self._known.backgrounds if one != behind and one.tint not in colours] or [GREY]

    def _thing(
        self, mask: Mask, behind: Background, items: Sequence[Item], rng: np.random.Generator
    ) -> tuple[Item, ...]:
        """Something that is not there yet, in the middle of what is masked, if it fits."""
        left, top, right, bottom = (edge / len(mask) for edge in box_of(mask))
        radius = min(right - left, bottom - top) / 2 / REACH
        if radius < SMALLEST:
            return ()
        shape, colour = choose(pairs_on(behind, self._known, items), rng)
        texture = choose(self._known.textures_of(shape), rng)
        return (Item(shape, colour, texture, (top + bottom) / 2, (left + right) / 2, min(0.2, radius)),)


def _drawn(scene: Scene, like: Pixels) -> Pixels:
    size = max(like.shape[:2])
    return to_levels(draw(scene, size)).numpy()[: like.shape[0], : like.shape[1]].copy()


def _grown(painted: Pixels, picture: Pixels, kept: Mask) -> Pixels:
    """With what is kept going on to the side, in its own colour."""
    if not kept.any():
        return painted
    left, _, right, _ = box_of(kept)
    far = max(1, round((right - left) / 2))
    painted[np.roll(kept, far, axis=1)] = np.median(picture[kept], axis=0).astype(np.uint8)
    return painted
