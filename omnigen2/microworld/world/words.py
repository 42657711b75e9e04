"""How the world speaks: every sentence is made of these phrases and templates, so its words are known beforehand."""

from typing import Literal, TypeAlias, get_args

from omnigen2.microworld.world.scene import (
    COLOURS,
    PLACES,
    SHAPES,
    SIZES,
    Background,
    Colour,
    Pattern,
    Shape,
    Size,
    Texture,
    Tint,
)

Relation: TypeAlias = Literal["left of", "right of", "above", "below"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
OPPOSITE: dict[Relation, Relation] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}
NUMBERS = ("zero", "one", "two", "three", "four")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

TEMPLATES: dict[str, tuple[str, ...]] = {
    "caption": ("{object}", "{object} and {other}", "{object} {relation} {other}", "{object} {background}"),
    "add": ("add {object} in the {place}",),
    "remove": ("remove {object}", "take {object} away"),
    "replace": ("replace {object} with {other}",),
    "recolour": ("make {object} {colour}", "change the colour of {object} to {colour}"),
    "move": ("move {object} to the {place}",),
    "background": ("change the background to {background}", "put everything on {background}"),
    "single": ("draw the {role} from image {i} in the {place} {background}",),
    "multiple": ("draw the {role} from image {i} {relation} the {role} from image {j} {background}",),
    "scene": ("put the {role} from image {i} in the {place} of the scene from image {j}",),
    "scene_both": ("put the {role} from image {i} {relation} the {role} from image {j} in the scene from image {k}",),
    "question": (
        "how many {shape} are there ?",
        "what colour is {object} ?",
        "what shape is the {colour} thing{where} ?",
        "is there {object} ?",
        "where is {object} ?",
        "is {object} {relation} {other} ?",
        "what is the background ?",
    ),
    "answer": ("yes", "no", "in the {place}", "{number}", "{colour}", "{shape}", "{background}"),
    "glyph": ("write {letters} in {colour}",),
}
"""Every sentence pattern, by what it is for. `{object}` and the like stand for phrases made below."""

PHRASES = (
    "thing",
    "in the",
    "a",
    "the",
    "with a face",
    "with faces",
    "on a",
    "background",
    "character",
    "object",
    *NUMBERS,
)
"""Words that the phrases below add to the names of things."""


def plural(shape: Shape) -> str:
    """The word for several of a shape."""
    return "crosses" if shape == "cross" else f"{shape}s"


def describe(
    shape: Shape,
    colour: Colour | None = None,
    texture: Texture | None = None,
    size: Size | None = None,
    first: str = "a",
) -> str:
    """Describe one kind of item.

    Args:
        first: An article, or a number: from `"two"` on, the plural follows.

    Returns:
        Such as "two large red striped circles" or "the green square with a face".
    """
    several = first in NUMBERS[2:]
    stripes = "striped" if texture == "striped" else None
    face = ("with faces" if several else "with a face") if texture == "face" else None
    words = (first, size, colour, stripes, plural(shape) if several else shape, face)
    return " ".join(word for word in words if word)


def describe_background(background: Background) -> str:
    """Describe a background: "a grey background", "a blue striped background"."""
    pattern = "" if background.pattern == "plain" else f"{background.pattern} "
    return f"a {background.tint} {pattern}background"


def all_words() -> tuple[str, ...]:
    """Every word and sign that a sentence of the world can have, in alphabetical order."""
    templates = (word for group in TEMPLATES.values() for text in group for word in text.split() if "{" not in word)
    phrases = (word for phrase in (*PHRASES, *PLACES, *RELATIONS) for word in phrase.split())
    names = (*SHAPES, *map(plural, SHAPES), *COLOURS, *SIZES, *get_args(Texture), *get_args(Tint), *get_args(Pattern))
    numbers = (str(number) for number in range(1, 4))
    return tuple(sorted({*templates, *phrases, *names, *numbers, *LETTERS.lower()}))
