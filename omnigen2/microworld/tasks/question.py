"""Questions about a scene and their answers, for the understanding side."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never, get_args

import numpy as np

from omnigen2.microworld.tasks.edit import name
from omnigen2.microworld.tasks.specification import stands
from omnigen2.microworld.world import (
    NUMBERS,
    OPPOSITE,
    RELATIONS,
    TEMPLATES,
    Colour,
    Relation,
    Scene,
    Shape,
    Vocabulary,
    choose,
    choose_some,
    describe,
    describe_background,
    pairs_on,
    sample_scene,
)

QuestionKind: TypeAlias = Literal["count", "colour", "shape", "presence", "place", "relation", "background"]
QUESTION_KINDS: tuple[QuestionKind, ...] = get_args(QuestionKind)


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a picture, and the one right answer, word for word."""

    kind: QuestionKind
    text: str
    answer: str
    scene: Scene


def sample_question(vocabulary: Vocabulary, rng: np.random.Generator, kind: QuestionKind | None = None) -> Question:
    """A random scene and a question about it; yes and no are equally likely where they are the answers."""
    kind = kind or choose(QUESTION_KINDS, rng)
    scene = sample_scene(vocabulary, rng, count=int(rng.integers(2, 4)), cells="quarters")
    template = TEMPLATES["question"][QUESTION_KINDS.index(kind)]
    fields, answer = _asked(kind, scene, vocabulary, rng)
    return Question(kind, template.format(**fields), answer, scene)


def _asked(
    kind: QuestionKind, scene: Scene, vocabulary: Vocabulary, rng: np.random.Generator
) -> tuple[dict[str, str], str]:
    """What fills the question's template, and the answer."""
    item = choose(scene.items, rng)
    match kind:
        case "count":
            shape = choose((item.shape, choose(vocabulary.shapes, rng)), rng)
            count = sum(other.shape == shape for other in scene.items)
            return {"shape": describe(shape, first=NUMBERS[2]).partition(" ")[2]}, NUMBERS[count]
        case "colour":
            alone = [other for other in scene.items if _shapes(scene).count(other.shape) == 1]
            asked = choose(alone, rng) if alone else item
            thing = describe(asked.shape, first="the") if alone else f"the {asked.shape} in the {asked.place}"
            return {"object": thing}, asked.colour
        case "shape":
            same = [other for other in scene.items if other.colour == item.colour]
            where = "" if len(same) == 1 else f" in the {item.place}"
            return {"colour": item.colour, "where": where}, item.shape
        case "presence":
            return _presence(scene, vocabulary, rng)
        case "place":
            return {"object": name(item)}, TEMPLATES["answer"][2].format(place=item.place)
        case "relation":
            return _relation(scene, rng)
        case "background":
            return {}, describe_background(scene.background)
        case _:
            assert_never(kind)


def _shapes(scene: Scene) -> list[str]:
    return [item.shape for item in scene.items]


def _presence(scene: Scene, vocabulary: Vocabulary, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    there: list[tuple[Shape, Colour]] = [(item.shape, item.colour) for item in scene.items]
    yes = bool(rng.integers(2))
    shape, colour = choose(there if yes else pairs_on(scene.background, vocabulary, scene.items), rng)
    return {"object": describe(shape, colour)}, "yes" if yes else "no"


def _relation(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    first, second = choose_some(scene.items, 2, rng)
    relations: list[Relation] = [relation for relation in RELATIONS if stands(first, relation, second)]
    true = choose(relations, rng)
    yes = bool(rng.integers(2))
    relation = true if yes else OPPOSITE[true]
    return {"object": name(first), "relation": relation, "other": name(second)}, "yes" if yes else "no"
