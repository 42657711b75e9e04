"""What a scene is: up to four coloured shapes on a background, as frozen records, and which of them a size can show.

Places and radii are fractions of the image's side; rows grow downwards, columns to the right.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from omnigen2.errors import check_choice

Shape: TypeAlias = Literal["circle", "square", "triangle", "cross", "ring"]
Colour: TypeAlias = Literal["black", "red", "green", "blue", "yellow", "magenta", "cyan", "white"]
Texture: TypeAlias = Literal["plain", "striped", "face"]
Size: TypeAlias = Literal["small", "large"]
Tint: TypeAlias = Literal["grey", "red", "green", "blue", "yellow", "magenta", "cyan"]
Pattern: TypeAlias = Literal["plain", "striped", "checked"]
Place: TypeAlias = Literal["top left", "top right", "bottom left", "bottom right"]
ImageSize: TypeAlias = Literal[16, 32, 64]

SHAPES: tuple[Shape, ...] = get_args(Shape)
COLOURS: tuple[Colour, ...] = get_args(Colour)
TEXTURES: tuple[Texture, ...] = get_args(Texture)
SIZES: tuple[Size, ...] = get_args(Size)
PLACES: tuple[Place, ...] = get_args(Place)
IMAGE_SIZES: tuple[ImageSize, ...] = get_args(ImageSize)

RGB: dict[Colour, tuple[int, int, int]] = {
    "black": (-1, -1, -1),
    "red": (1, -1, -1),
    "green": (-1, 1, -1),
    "blue": (-1, -1, 1),
    "yellow": (1, 1, -1),
    "magenta": (1, -1, 1),
    "cyan": (-1, 1, 1),
    "white": (1, 1, 1),
}
"""The corners of the cube [-1, 1]³: a mix of one of them with grey never looks like a third."""

MAX_ITEMS = 4
SMALL_RADIUS = (0.13, 0.15)
LARGE_RADIUS = (0.185, 0.205)
ALONE_RADIUS = (0.185, 0.28)
"""Of a large item that is alone in its scene."""
SIZE_BORDER = 0.17
"""Items of a smaller radius are small."""


@dataclass(frozen=True, slots=True)
class Item:
    """One drawn shape.

    Attributes:
        colour: A corner of the colour cube.
        texture: `"face"` makes it a character, for circles and squares only; rings are always plain.
        row: Of its centre, in (0, 1).
        column: Of its centre, in (0, 1).
        radius: From the centre to the far edge, about; in (0, 0.5).

    Raises:
        ValueError: If a number is out of range, a word is unknown, or the shape cannot have the texture.
    """

    shape: Shape
    colour: Colour
    texture: Texture
    row: float
    column: float
    radius: float

    def __post_init__(self) -> None:
        check_choice("the shape of an Item", self.shape, Shape)
        check_choice("the colour of an Item", self.colour, Colour)
        check_choice("the texture of an Item", self.texture, Texture)
        if not (0 < self.row < 1 and 0 < self.column < 1 and 0 < self.radius < 0.5):
            raise ValueError(
                f"Item needs row and column in (0, 1) and radius in (0, 0.5), got row {self.row}, column "
                f"{self.column}, radius {self.radius}; give fractions of the image's side, not pixels"
            )
        if self.texture not in textures_of(self.shape):
            raise ValueError(f"a {self.shape} cannot be {self.texture!r}; it can be {textures_of(self.shape)}")

    @property
    def size(self) -> Size:
        """The word for its radius."""
        return "small" if self.radius < SIZE_BORDER else "large"

    @property
    def place(self) -> Place:
        """The quarter of the image that its centre is in."""
        return place_at(self.row, self.column)


@dataclass(frozen=True)
class Background:
    """What is behind the items: a pale tint, alone or taking turns with grey.

    Attributes:
        tint: Its colour, paler than any item.
        pattern: How it is laid out; grey is always plain.

    Raises:
        ValueError: If a word is unknown, or grey is given a pattern.
    """

    tint: Tint = "grey"
    pattern: Pattern = "plain"

    def __post_init__(self) -> None:
        check_choice("the tint of a Background", self.tint, Tint)
        check_choice("the pattern of a Background", self.pattern, Pattern)
        if self.tint == "grey" and self.pattern != "plain":
            raise ValueError(f"a grey background is plain, got pattern {self.pattern!r}; choose a tint")


GREY = Background()
BACKGROUNDS: tuple[Background, ...] = (
    GREY,
    *(Background(t, p) for t in get_args(Tint) if t != "grey" for p in get_args(Pattern)),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, before it is drawn.

    Attributes:
        items: Up to four, none of the background's colour; they do not overlap when they come from `sampling`.

    Raises:
        ValueError: If there are too many items, or one has the background's colour.
    """

    items: tuple[Item, ...]
    background: Background = GREY

    def __post_init__(self) -> None:
        if len(self.items) > MAX_ITEMS:
            raise ValueError(f"Scene holds at most {MAX_ITEMS} items, got {len(self.items)}; leave some out")
        if any(item.colour == self.background.tint for item in self.items):
            raise ValueError(
                f"Scene has an item of its background's colour, {self.background.tint}; choose another for one of them"
            )


@dataclass(frozen=True)
class Vocabulary:
    """What scenes are made of.

    Attributes:
        shapes: At least two, so that there are pairs of different shapes.
        colours: At least four, and one more for each tint among them that a background has, up to two more: so that
            there is always a colour left to change to.
        textures: At least one, `"plain"` among them.
        sizes: At least one; sizes are named in texts when there are two. Characters are large in any case.
        backgrounds: At least one; a background is named in texts when it is not plain grey.

    Raises:
        ValueError: If a choice is missing, unknown or given twice.
    """

    shapes: tuple[Shape, ...]
    colours: tuple[Colour, ...]
    textures: tuple[Texture, ...] = ("plain",)
    sizes: tuple[Size, ...] = ("large",)
    backgrounds: tuple[Background, ...] = (GREY,)

    def __post_init__(self) -> None:
        for name, chosen, known in (
            ("shape", self.shapes, Shape), ("colour", self.colours, Colour), ("texture", self.textures, Texture),
            ("size", self.sizes, Size),
        ):  # fmt: skip
            for one in chosen:
                check_choice(f"a {name} of a Vocabulary", one, known)
        choices = (self.shapes, self.colours, self.textures, self.sizes, self.backgrounds)
        if any(len(set(choice)) < len(choice) for choice in choices):
            raise ValueError(f"Vocabulary has a choice twice: {self}; name each once")
        tints = {background.tint for background in self.backgrounds} & set(self.colours)
        colours = 4 + min(2, len(tints))
        if len(self.shapes) < 2 or len(self.colours) < colours or not all(choices) or "plain" not in self.textures:
            raise ValueError(
                f"Vocabulary needs two shapes, {colours} colours (with these backgrounds), a size, a background and "
                f"the texture 'plain', got {self}; add what is missing"
            )

    def textures_of(self, shape: Shape) -> tuple[Texture, ...]:
        """The textures that a shape can have here."""
        return tuple(texture for texture in self.textures if texture in textures_of(shape))

    @property
    def faces(self) -> tuple[Shape, ...]:
        """The shapes that can be characters here."""
        return tuple(shape for shape in self.shapes if "face" in self.textures_of(shape))


EASY = Vocabulary(shapes=("square", "triangle", "cross"), colours=("red", "green", "blue", "yellow"))
"""What a small model learns first, at any size: large plain items on grey."""


def full_vocabulary(size: ImageSize) -> Vocabulary:
    """Everything that the verifier reads back exactly from drawn scenes of a size.

    At 16 pixels rings and stripes are left out.
    """
    if size == 16:
        return Vocabulary(SHAPES[:4], COLOURS, ("plain", "face"), SIZES, BACKGROUNDS)
    return Vocabulary(SHAPES, COLOURS, TEXTURES, SIZES, BACKGROUNDS)


def textures_of(shape: Shape) -> tuple[Texture, ...]:
    """The textures that a shape can be drawn with."""
    match shape:
        case "circle" | "square":
            return TEXTURES
        case "triangle" | "cross":
            return ("plain", "striped")
        case "ring":
            return ("plain",)


def place_at(row: float, column: float) -> Place:
    """The quarter of the image that a point is in."""
    if row < 0.5:
        return "top left" if column < 0.5 else "top right"
    return "bottom left" if column < 0.5 else "bottom right"
