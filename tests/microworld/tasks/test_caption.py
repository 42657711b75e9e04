"""A specification is true of its scene and false of one that differs in what the text names."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.microworld.tasks import (
    TAGS,
    Beside,
    Caption,
    Include,
    Specification,
    Tag,
    Verdict,
    caption_text,
    check,
    sample_caption,
    verify_caption,
)
from omnigen2.microworld.tasks.specification import stands
from omnigen2.microworld.world import OPPOSITE, RELATIONS, ImageSize, Item, Reading, Relation, Scene, Vocabulary, draw
from omnigen2.microworld.world.scene import BACKGROUNDS, COLOURS, SHAPES, textures_of
from tests.microworld.worlds import generator, seeds, worlds

tags = st.sampled_from(TAGS)


def verdict(caption: Caption, *items: Item) -> Verdict:
    return check(caption.specification, Reading.of(Scene(items, caption.scene.background)))


@given(worlds, seeds, tags)
def test_a_specification_is_true_of_its_drawn_scene(world: tuple[ImageSize, Vocabulary], seed: int, tag: Tag) -> None:
    size, vocabulary = world
    caption = sample_caption(vocabulary, generator(seed), tag)
    assert caption.specification.tag == tag
    assert verify_caption(caption.specification, draw(caption.scene, size)).exact
    assert check(caption.specification, Reading.of(caption.scene)).exact


def changed(item: Item, include: Include, background: str) -> Iterator[Item]:
    """The item with one named attribute changed, in every way there is."""
    for shape in SHAPES:
        if shape != item.shape and item.texture in textures_of(shape):
            yield replace(item, shape=shape)
    for colour in COLOURS:
        if colour not in (item.colour, background):
            yield replace(item, colour=colour)
    if include.texture is not None:
        for texture in textures_of(item.shape):
            if texture != item.texture:
                yield replace(item, texture=texture)
    if include.size is not None:
        yield replace(item, radius=0.14 if item.size == "large" else 0.2)


@given(worlds, seeds, tags)
def test_it_is_false_of_a_scene_that_differs_in_a_named_attribute(
    world: tuple[ImageSize, Vocabulary], seed: int, tag: Tag
) -> None:
    _, vocabulary = world
    caption = sample_caption(vocabulary, generator(seed), tag)
    items, background = caption.scene.items, caption.scene.background
    for number, item in enumerate(items):
        rest = (*items[:number], *items[number + 1 :])
        include = next(i for i in caption.specification.include if i.shape == item.shape)
        assert not verdict(caption, *rest).exact
        for other in changed(item, include, background.tint):
            assert not verdict(caption, *rest, other).exact
    if len(items) < 4:
        assert not verdict(caption, *items, replace(items[0], row=0.5, column=0.5)).exact
    for other in BACKGROUNDS:
        if caption.specification.background is not None and other != background:
            reading = replace(Reading.of(caption.scene), background=other)
            assert not check(caption.specification, reading).exact


@given(worlds, seeds)
def test_a_relation_is_false_when_the_items_change_places(world: tuple[ImageSize, Vocabulary], seed: int) -> None:
    _, vocabulary = world
    caption = sample_caption(vocabulary, generator(seed), "position")
    first, second = caption.scene.items
    swapped = (
        replace(first, row=second.row, column=second.column), replace(second, row=first.row, column=first.column),
    )  # fmt: skip
    assert not verdict(caption, *swapped).exact


@given(worlds, seeds, tags)
def test_text_and_specification_name_the_same(world: tuple[ImageSize, Vocabulary], seed: int, tag: Tag) -> None:
    _, vocabulary = world
    caption = sample_caption(vocabulary, generator(seed), tag)
    specification = caption.specification
    assert caption.text == caption_text(specification)
    words = caption.text.split()
    for include in specification.include:
        assert include.colour in words
        assert (include.texture == "striped") <= ("striped" in words)
        assert (include.size is not None) <= (include.size in words)
    assert (specification.background is None) == ("background" not in words)
    assert all(pair.relation in caption.text for pair in specification.beside)


@given(seeds, st.sampled_from(RELATIONS))
def test_relations_have_opposites_and_exclude_them(seed: int, relation: Relation) -> None:
    rng = generator(seed)
    first, second = (Item("circle", "red", "plain", *rng.uniform(0.1, 0.9, 2).tolist(), 0.15) for _ in range(2))
    assert stands(first, relation, second) == stands(second, OPPOSITE[relation], first)
    assert not (stands(first, relation, second) and stands(first, OPPOSITE[relation], second))
    assert not stands(first, relation, first)


@given(worlds, seeds, tags)
def test_a_blank_picture_meets_no_clause_about_items(world: tuple[ImageSize, Vocabulary], seed: int, tag: Tag) -> None:
    _, vocabulary = world
    caption = sample_caption(vocabulary, generator(seed), tag)
    blank = verdict(caption)
    assert not blank.exact
    assert sum(clause.met for clause in blank.clauses) <= (caption.specification.background is not None)


def test_examples_in_words() -> None:
    red, blue = Include("circle", 1, "red", "face", "large"), Include("square", 3, "blue", "striped")
    assert caption_text(Specification("single_object", (red,))) == "a large red circle with a face"
    assert caption_text(Specification("counting", (blue,))) == "three blue striped squares"
    text = caption_text(Specification("position", (red, Include("cross")), (Beside(0, "left of", 1),)))
    assert text == "a large red circle with a face left of a cross"
    half = Scene((Item("circle", "red", "plain", 0.5, 0.5, 0.2),))
    found = check(Specification("single_object", (red,)), Reading.of(half))
    assert found.unmet == ("one red circle with a face", "one large red circle with a face")
    assert found.graded == 0.6


def test_wrong_specifications_are_refused() -> None:
    with pytest.raises(ValueError, match="count of 1 to 4, got 5"):
        Include("circle", 5)
    with pytest.raises(ValueError, match="must include something"):
        Specification("counting", ())
    with pytest.raises(ValueError, match="relates includes that are not there"):
        Specification("position", (Include("circle"),), (Beside(0, "above", 1),))
