"""Captions with GenEval-style specifications: a scene that fits one of the six tags, its text, and what it must show.

A text names exactly what its specification asks for. Sizes are named where the vocabulary has two, textures where
they are not plain, backgrounds where they are not plain grey. The tag "colors" has plain items of unnamed size.
Colours are always named: a model that is trained with captions without a colour learns the mean of all colours,
which is the grey of the background.
"""

from dataclasses import dataclass
from typing import ClassVar, assert_never

import numpy as np

from omnigen2.microworld.tasks.specification import TAGS, Beside, Family, Include, Specification, Tag, stands
from omnigen2.microworld.world import (
    GREY,
    MAX_ITEMS,
    NUMBERS,
    RELATIONS,
    Background,
    Kind,
    Relation,
    Scene,
    Size,
    Vocabulary,
    cells_for,
    choose,
    choose_some,
    colours_on,
    describe,
    describe_background,
    pairs_on,
    put,
    sample_kinds,
)


@dataclass(frozen=True, slots=True)
class Caption:
    """A text-to-image example: a text, what it asks for, and a scene that it is true of."""

    text: str
    specification: Specification
    scene: Scene
    family: ClassVar[Family] = "text_to_image"
    references: ClassVar[tuple[Scene, ...]] = ()

    @property
    def group(self) -> Tag:
        """GenEval's tag."""
        return self.specification.tag

    @property
    def instruction(self) -> str:
        """The text."""
        return self.text

    @property
    def target(self) -> Scene:
        """The scene."""
        return self.scene


def sample_caption(vocabulary: Vocabulary, rng: np.random.Generator, tag: Tag | None = None) -> Caption:
    """A random caption and a scene for it; what is not named in the text, such as places, is random too."""
    tag = tag or choose(TAGS, rng)
    background = choose(vocabulary.backgrounds, rng)
    groups = _groups(tag, background, vocabulary, rng)
    count = sum(number for _, number in groups)
    cells = iter(cells_for(count, "free", rng))
    sizes: list[Size] = [choose(vocabulary.sizes, rng) for _ in groups]
    sized = list(zip(groups, sizes, strict=True))
    items = tuple(put(kind, size, next(cells), rng) for (kind, number), size in sized for _ in range(number))
    include = tuple(_include(tag, kind, number, size, vocabulary) for (kind, number), size in sized)
    beside: tuple[Beside, ...] = ()
    if tag == "position":
        true: list[Relation] = [relation for relation in RELATIONS if stands(items[0], relation, items[1])]
        beside = (Beside(0, choose(true, rng), 1),)
    named = None if background == GREY else background
    specification = Specification(tag, include, beside, named)
    return Caption(caption_text(specification), specification, Scene(items, background))


def caption_text(specification: Specification) -> str:
    """Say what a specification asks for, such as "a red circle left of a blue square on a green background"."""
    objects = [_phrase(include) for include in specification.include]
    joint = specification.beside[0].relation if specification.beside else "and"
    text = f" {joint} ".join(objects)
    return text if specification.background is None else f"{text} on {describe_background(specification.background)}"


def _phrase(include: Include) -> str:
    first = "a" if include.count == 1 else NUMBERS[include.count]
    return describe(include.shape, include.colour, include.texture, include.size, first)


def _include(tag: Tag, kind: Kind, number: int, size: Size, vocabulary: Vocabulary) -> Include:
    shape, colour, texture = kind
    if tag == "colors":
        return Include(shape, number, colour)
    shown = "large" if texture == "face" else size
    return Include(
        shape, number, colour, None if texture == "plain" else texture, shown if len(vocabulary.sizes) > 1 else None
    )


def _groups(
    tag: Tag, background: Background, vocabulary: Vocabulary, rng: np.random.Generator
) -> list[tuple[Kind, int]]:
    """Kinds of items and how many of each: pairs have different shapes, and one colour only for `two_object`."""
    colours = colours_on(background, vocabulary)
    match tag:
        case "single_object":
            return [(kind, 1) for kind in sample_kinds(1, background, vocabulary, rng)]
        case "colors":
            shape, colour = choose(pairs_on(background, vocabulary), rng)
            return [((shape, colour, "plain"), 1)]
        case "counting":
            return [
                (kind, int(rng.integers(2, MAX_ITEMS + 1))) for kind in sample_kinds(1, background, vocabulary, rng)
            ]
        case "two_object":
            pair = (choose(colours, rng),) * 2
        case "position" | "color_attr":
            pair = choose_some(colours, 2, rng)
        case _:
            assert_never(tag)
    shapes = choose_some(vocabulary.shapes, 2, rng)
    return [((s, c, choose(vocabulary.textures_of(s), rng)), 1) for s, c in zip(shapes, pair, strict=True)]
