"""Scenes are drawn by lot from a seeded generator: a jittered grid, so that no place is ever rejected."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias, TypeVar, assert_never

import numpy as np

from omnigen2.microworld.world.scene import (
    ALONE_RADIUS,
    LARGE_RADIUS,
    MAX_ITEMS,
    SMALL_RADIUS,
    Background,
    Colour,
    Item,
    Place,
    Scene,
    Shape,
    Size,
    Texture,
    Vocabulary,
)

T = TypeVar("T")
Cell: TypeAlias = tuple[float, float, float, float]
"""Top, left, bottom, right, as fractions of the side."""
Cells: TypeAlias = Literal["free", "quarters"]

Kind: TypeAlias = tuple[Shape, Colour, Texture]
"""What an item looks like, without its place and size."""

MARGIN = 0.04
"""Free border of a cell around its item."""
QUARTERS: dict[Place, Cell] = {
    "top left": (0, 0, 0.5, 0.5),
    "top right": (0, 0.5, 0.5, 1),
    "bottom left": (0.5, 0, 1, 0.5),
    "bottom right": (0.5, 0.5, 1, 1),
}


def choose(options: Sequence[T], rng: np.random.Generator) -> T:
    """One of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]


def choose_some(options: Sequence[T], count: int, rng: np.random.Generator) -> tuple[T, ...]:
    """Different options in random order."""
    return tuple(options[int(i)] for i in rng.permutation(len(options))[:count])


def balanced(options: Sequence[T], count: int, rng: np.random.Generator) -> Iterator[T]:
    """So many options, each as often as any other up to one: one shuffled round of all of them after another."""
    for start in range(0, count, len(options)):
        yield from choose_some(options, min(len(options), count - start), rng)


def cells_for(count: int, cells: Cells, rng: np.random.Generator) -> tuple[Cell, ...]:
    """Parts of the image that do not overlap, one per item.

    Args:
        count: Number of items, 0 to 4.
        cells: `"quarters"` puts each into a quarter; `"free"` gives one item the whole image and two a half each.

    Raises:
        ValueError: If there are more items than cells.
    """
    if not 0 <= count <= MAX_ITEMS:
        raise ValueError(f"a scene has place for 0 to {MAX_ITEMS} items, got {count}; ask for fewer")
    match cells:
        case "free" if count == 1:
            return ((0.0, 0.0, 1.0, 1.0),)
        case "free" if count == 2:
            upright: tuple[Cell, ...] = ((0, 0, 1, 0.5), (0, 0.5, 1, 1))
            lying: tuple[Cell, ...] = ((0, 0, 0.5, 1), (0.5, 0, 1, 1))
            return choose_some(choose((upright, lying), rng), 2, rng)
        case "free" | "quarters":
            return choose_some(tuple(QUARTERS.values()), count, rng)
        case _:
            assert_never(cells)


def put(kind: Kind, size: Size, cell: Cell, rng: np.random.Generator) -> Item:
    """An item somewhere in a cell.

    Args:
        size: The range of its radius; a face is always large.

    Returns:
        An item whose circle of one radius, and a margin, is inside the cell.
    """
    top, left, bottom, right = cell
    alone = min(bottom - top, right - left) > 0.5
    shape, colour, texture = kind
    match size:
        case "small" if texture != "face":
            bounds = SMALL_RADIUS
        case "small" | "large":
            bounds = ALONE_RADIUS if alone else LARGE_RADIUS
        case _:
            assert_never(size)
    radius = float(rng.uniform(*bounds))
    edge = radius + MARGIN
    row, column = float(rng.uniform(top + edge, bottom - edge)), float(rng.uniform(left + edge, right - edge))
    return Item(shape, colour, texture, row, column, radius)


def colours_on(background: Background, vocabulary: Vocabulary) -> tuple[Colour, ...]:
    """The colours that items on a background can have."""
    return tuple(colour for colour in vocabulary.colours if colour != background.tint)


def pairs_on(background: Background, vocabulary: Vocabulary, taken: Iterable[Item] = ()) -> list[tuple[Shape, Colour]]:
    """The shapes and colours that an item on a background can have, but for those of the items that are `taken`."""
    out = {(item.shape, item.colour) for item in taken}
    colours = colours_on(background, vocabulary)
    return [(shape, colour) for shape in vocabulary.shapes for colour in colours if (shape, colour) not in out]


def sample_kinds(count: int, background: Background, vocabulary: Vocabulary, rng: np.random.Generator) -> list[Kind]:
    """Shapes, colours and textures for a background, no two with the same shape and colour."""
    chosen = choose_some(pairs_on(background, vocabulary), count, rng)
    return [(shape, colour, choose(vocabulary.textures_of(shape), rng)) for shape, colour in chosen]


def sample_scene(
    vocabulary: Vocabulary, rng: np.random.Generator, count: int | None = None, cells: Cells = "free"
) -> Scene:
    """A random scene of 0 to 4 items, by default 1 to 4, that do not touch, no two with the same shape and colour."""
    number = int(rng.integers(1, MAX_ITEMS + 1)) if count is None else count
    background = choose(vocabulary.backgrounds, rng)
    kinds = sample_kinds(number, background, vocabulary, rng)
    places = cells_for(number, cells, rng)
    items = (put(kind, choose(vocabulary.sizes, rng), cell, rng) for kind, cell in zip(kinds, places, strict=True))
    return Scene(tuple(items), background)
