"""In-context tasks with one to three reference pictures, after OmniContext's eight kinds.

Characters are shapes with a face, objects are shapes without, scenes are backgrounds. The text names no shape,
colour, texture or scene of a reference: whoever ignores the references cannot get them right.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

import numpy as np

from omnigen2.microworld.tasks.specification import Family, Include
from omnigen2.microworld.world import (
    GREY,
    QUARTERS,
    RELATIONS,
    TEMPLATES,
    Background,
    Cell,
    Item,
    Kind,
    Place,
    Relation,
    Scene,
    Texture,
    Vocabulary,
    choose,
    choose_some,
    colours_on,
    describe_background,
    put,
)

ContextKind: TypeAlias = Literal[
    "single_character",
    "single_object",
    "multiple_character",
    "multiple_object",
    "multiple_character_object",
    "scene_character",
    "scene_object",
    "scene_character_object",
]
"""OmniContext's SINGLE, MULTIPLE and SCENE with character, object, and both."""
CONTEXT_KINDS: tuple[ContextKind, ...] = get_args(ContextKind)
Role: TypeAlias = Literal["character", "object"]

ROLES: dict[ContextKind, tuple[Role, ...]] = {
    "single_character": ("character",),
    "single_object": ("object",),
    "multiple_character": ("character", "character"),
    "multiple_object": ("object", "object"),
    "multiple_character_object": ("character", "object"),
    "scene_character": ("character",),
    "scene_object": ("object",),
    "scene_character_object": ("character", "object"),
}
"""What the reference pictures show, one each; the kinds with a scene have one more, the last."""
LEFT, RIGHT = (0.15, 0.0, 0.85, 0.5), (0.15, 0.5, 0.85, 1.0)
UPPER, LOWER = (0.0, 0.15, 0.5, 0.85), (0.5, 0.15, 1.0, 0.85)
CELLS: dict[Relation, tuple[Cell, Cell]] = {
    "left of": (LEFT, RIGHT),
    "right of": (RIGHT, LEFT),
    "above": (UPPER, LOWER),
    "below": (LOWER, UPPER),
}
"""Where two subjects go."""


@dataclass(frozen=True, slots=True)
class ContextTask:
    """One in-context task.

    Attributes:
        instruction: In words; pictures are counted from 1.
        references: The given scenes: one subject each, then perhaps an empty scene.
        relation: How the first subject stands to the second, where there are two.
    """

    kind: ContextKind
    instruction: str
    references: tuple[Scene, ...]
    target: Scene
    relation: Relation | None
    place: Place | None
    family: ClassVar[Family] = "in_context"

    @property
    def group(self) -> str:
        """OmniContext's subtask: `multiple_object` is `multi_object` in the published data."""
        return self.kind.replace("multiple_", "multi_")

    @property
    def subjects(self) -> tuple[Include, ...]:
        """What must be found in the output of each subject reference: its shape, colour and texture."""
        items = (reference.items[0] for reference in self.references if reference.items)
        return tuple(Include(item.shape, 1, item.colour, item.texture) for item in items)


def context_kinds(vocabulary: Vocabulary) -> tuple[ContextKind, ...]:
    """The kinds that a vocabulary allows: characters need faces, scenes need several backgrounds."""
    return tuple(
        kind
        for kind in CONTEXT_KINDS
        if (vocabulary.faces or "character" not in ROLES[kind])
        and (len(vocabulary.backgrounds) > 1 or not kind.startswith("scene"))
    )


def sample_context(vocabulary: Vocabulary, rng: np.random.Generator, kind: ContextKind | None = None) -> ContextTask:
    """A random in-context task.

    Returns:
        References on grey, or on any background that is not the target's if there is one; a target whose subjects
        have other places and perhaps another size.

    Raises:
        ValueError: If the vocabulary does not allow the kind.
    """
    kind = kind or choose(context_kinds(vocabulary), rng)
    if kind not in context_kinds(vocabulary):
        raise ValueError(
            f"a task of kind {kind!r} needs a vocabulary with faces for characters and several backgrounds for scenes; "
            f"this one allows {context_kinds(vocabulary)}"
        )
    background = choose(vocabulary.backgrounds, rng)
    subjects = _subjects(ROLES[kind], background, vocabulary, rng)
    references = tuple(_alone(subject, background, vocabulary, rng) for subject in subjects)
    if kind.startswith("scene"):
        references = (*references, Scene((), background))
    relation = choose(RELATIONS, rng) if len(subjects) == 2 else None
    place = choose(tuple(QUARTERS), rng) if relation is None else None
    cells = (QUARTERS[place],) if place else CELLS[relation or "left of"]
    sizes = vocabulary.sizes
    items = tuple(put(s, choose(sizes, rng), cell, rng) for s, cell in zip(subjects, cells, strict=True))
    text = _instruction(kind, relation, place, background, rng)
    return ContextTask(kind, text, references, Scene(items, background), relation, place)


def _subjects(
    roles: tuple[Role, ...], background: Background, vocabulary: Vocabulary, rng: np.random.Generator
) -> list[Kind]:
    """One kind of item per role, all of different colours."""
    colours = choose_some(colours_on(background, vocabulary), len(roles), rng)
    subjects: list[Kind] = []
    for role, colour in zip(roles, colours, strict=True):
        if role == "character":
            subjects.append((choose(vocabulary.faces, rng), colour, "face"))
        else:
            shape = choose(vocabulary.shapes, rng)
            textures: list[Texture] = [t for t in vocabulary.textures_of(shape) if t != "face"]
            subjects.append((shape, colour, choose(textures, rng)))
    return subjects


def _alone(subject: Kind, target: Background, vocabulary: Vocabulary, rng: np.random.Generator) -> Scene:
    """A reference picture: the subject anywhere, on a background that does not give the target's away."""
    others = tuple(b for b in vocabulary.backgrounds if b != target and b.tint != subject[1])
    item: Item = put(subject, choose(vocabulary.sizes, rng), (0.0, 0.0, 1.0, 1.0), rng)
    return Scene((item,), choose(others, rng) if others else GREY)


def _instruction(
    kind: ContextKind, relation: Relation | None, place: Place | None, background: Background, rng: np.random.Generator
) -> str:
    family = kind.partition("_")[0]
    both = "_both" if family == "scene" and relation else ""
    roles = iter(ROLES[kind])
    template = choose(TEMPLATES[family + both], rng)
    for _ in ROLES[kind]:
        template = template.replace("{role}", next(roles), 1)
    return template.format(
        i=1, j=2, k=3, relation=relation, place=place, background=f"on {describe_background(background)}"
    )
