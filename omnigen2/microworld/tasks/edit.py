"""Edits of six kinds: an instruction, a source, a target, and what must stay."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias, assert_never, get_args

import numpy as np

from omnigen2.microworld.tasks.specification import Family
from omnigen2.microworld.world import (
    QUARTERS,
    TEMPLATES,
    Item,
    Place,
    Scene,
    Vocabulary,
    choose,
    choose_some,
    colours_on,
    describe,
    describe_background,
    pairs_on,
    put,
    sample_scene,
)

EditKind: TypeAlias = Literal["add", "remove", "replace", "recolour", "move", "background"]
EDIT_KINDS: tuple[EditKind, ...] = get_args(EditKind)


@dataclass(frozen=True, slots=True)
class EditTask:
    """One edit, whose instruction names items unambiguously."""

    kind: EditKind
    instruction: str
    source: Scene
    target: Scene
    family: ClassVar[Family] = "edit"

    @property
    def group(self) -> EditKind:
        """The kind."""
        return self.kind

    @property
    def references(self) -> tuple[Scene, ...]:
        """The source."""
        return (self.source,)

    @property
    def kept(self) -> tuple[Item, ...]:
        """The items that must stay as they are."""
        return tuple(item for item in self.source.items if item in self.target.items)

    @property
    def removed(self) -> tuple[Item, ...]:
        """The items of the source that must be gone."""
        return tuple(item for item in self.source.items if item not in self.target.items)

    @property
    def added(self) -> tuple[Item, ...]:
        """The items of the target that are new."""
        return tuple(item for item in self.target.items if item not in self.source.items)


def edit_kinds(vocabulary: Vocabulary) -> tuple[EditKind, ...]:
    """The edits that a vocabulary allows: with a single background, it cannot be changed."""
    several = len(vocabulary.backgrounds) > 1
    return tuple(kind for kind in EDIT_KINDS if several or kind != "background")


def sample_edit(vocabulary: Vocabulary, rng: np.random.Generator, kind: EditKind | None = None) -> EditTask:
    """A random edit of a scene of two or three items, each in a quarter of its own.

    Raises:
        ValueError: If the vocabulary does not allow the kind.
    """
    kind = kind or choose(edit_kinds(vocabulary), rng)
    if kind not in edit_kinds(vocabulary):
        raise ValueError(
            f"an edit of kind {kind!r} needs a vocabulary with several backgrounds, got {len(vocabulary.backgrounds)}; "
            f"choose one of {edit_kinds(vocabulary)}"
        )
    if kind == "background":
        return _background(vocabulary, rng)
    source = sample_scene(vocabulary, rng, count=int(rng.integers(2, 4)), cells="quarters")
    if kind == "add":
        place = choose(_free(source), rng)
        new = _newcomer(source, place, vocabulary, rng)
        text = choose(TEMPLATES[kind], rng).format(object=name(new, "a"), place=place)
        return EditTask(kind, text, source, replace(source, items=(*source.items, new)))
    old = choose(source.items, rng)
    new, text = _changed(kind, source, old, vocabulary, rng)
    items = (new if item == old else item for item in source.items)
    return EditTask(kind, text, source, replace(source, items=tuple(item for item in items if item is not None)))


def name(item: Item, first: str = "the") -> str:
    """An item in words, as instructions name it."""
    return describe(item.shape, item.colour, item.texture, first=first)


def _changed(
    kind: Literal["remove", "replace", "recolour", "move"],
    source: Scene,
    old: Item,
    vocabulary: Vocabulary,
    rng: np.random.Generator,
) -> tuple[Item | None, str]:
    """What becomes of one item, and the instruction that says so."""
    template = choose(TEMPLATES[kind], rng)
    match kind:
        case "remove":
            return None, template.format(object=name(old))
        case "replace":
            new = _newcomer(source, old.place, vocabulary, rng)
            return new, template.format(object=name(old), other=name(new, "a"))
        case "recolour":
            taken = {item.colour for item in source.items if item.shape == old.shape} | {old.colour}
            colour = choose([c for c in colours_on(source.background, vocabulary) if c not in taken], rng)
            return replace(old, colour=colour), template.format(object=name(old), colour=colour)
        case "move":
            place = choose(_free(source), rng)
            top, left, _, _ = QUARTERS[place]
            row, column = old.row % 0.5 + top, old.column % 0.5 + left
            return replace(old, row=row, column=column), template.format(object=name(old), place=place)
        case _:
            assert_never(kind)


def _background(vocabulary: Vocabulary, rng: np.random.Generator) -> EditTask:
    """Another background, whose tint none of the items has either."""
    old, new = choose_some(vocabulary.backgrounds, 2, rng)
    colours = tuple(colour for colour in vocabulary.colours if colour != new.tint)
    fitting = replace(vocabulary, colours=colours, backgrounds=(old,))
    source = sample_scene(fitting, rng, count=int(rng.integers(2, 4)), cells="quarters")
    text = choose(TEMPLATES["background"], rng).format(background=describe_background(new))
    return EditTask("background", text, source, replace(source, background=new))


def _newcomer(source: Scene, place: Place, vocabulary: Vocabulary, rng: np.random.Generator) -> Item:
    """An item of a shape and colour that the scene does not have yet."""
    shape, colour = choose(pairs_on(source.background, vocabulary, source.items), rng)
    texture = choose(vocabulary.textures_of(shape), rng)
    return put((shape, colour, texture), choose(vocabulary.sizes, rng), QUARTERS[place], rng)


def _free(scene: Scene) -> tuple[Place, ...]:
    taken = {item.place for item in scene.items}
    return tuple(place for place in QUARTERS if place not in taken)
