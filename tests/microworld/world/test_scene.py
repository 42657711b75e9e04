"""Scenes, sampling and drawing."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.microworld.tasks import sample_caption, sample_context, sample_edit, sample_question
from omnigen2.microworld.world import (
    EASY,
    Background,
    ImageSize,
    Item,
    Scene,
    Vocabulary,
    balanced,
    draw,
    full_vocabulary,
    sample_glyphs,
    sample_scene,
)
from tests.microworld.worlds import generator, seeds, worlds

CIRCLE = Item("circle", "red", "plain", 0.5, 0.5, 0.2)
FOUR = EASY.colours


@given(seeds)
def test_one_seed_gives_one_world(seed: int) -> None:
    def everything() -> list[object]:
        rng, vocabulary = generator(seed), full_vocabulary(64)
        samplers = (sample_scene, sample_caption, sample_edit, sample_context, sample_question)
        return [*(sampler(vocabulary, rng) for sampler in samplers), sample_glyphs(rng)]

    assert everything() == everything()


@given(worlds, seeds)
def test_pixels_are_in_range_and_the_same_again(world: tuple[ImageSize, Vocabulary], seed: int) -> None:
    size, vocabulary = world
    scene = sample_scene(vocabulary, generator(seed))
    pixels = draw(scene, size)
    assert pixels.shape == (3, size, size)
    assert pixels.abs().max() <= 1
    assert torch.equal(pixels, draw(scene, size))


@given(worlds, seeds)
def test_items_do_not_touch_and_are_inside(world: tuple[ImageSize, Vocabulary], seed: int) -> None:
    _, vocabulary = world
    items = sample_scene(vocabulary, generator(seed)).items
    for item in items:
        assert item.radius < item.row < 1 - item.radius
        assert item.radius < item.column < 1 - item.radius
    for number, item in enumerate(items):
        for other in items[:number]:
            apart = max(abs(item.row - other.row), abs(item.column - other.column))
            assert apart > item.radius + other.radius + 0.07


@given(worlds, seeds)
def test_scenes_are_made_of_their_vocabulary(world: tuple[ImageSize, Vocabulary], seed: int) -> None:
    _, vocabulary = world
    scene = sample_scene(vocabulary, generator(seed))
    assert scene.background in vocabulary.backgrounds
    assert len({(item.shape, item.colour) for item in scene.items}) == len(scene.items)
    for item in scene.items:
        assert item.shape in vocabulary.shapes
        assert item.colour in vocabulary.colours
        assert item.texture in vocabulary.textures
        assert item.size in vocabulary.sizes or item.texture == "face"


@given(st.integers(0, 60), st.integers(1, 8), seeds)
def test_balanced_options_come_equally_often(count: int, options: int, seed: int) -> None:
    counts = Counter(balanced(range(options), count, generator(seed)))
    assert sum(counts.values()) == count
    assert max(counts.values(), default=0) - (min(counts.values()) if len(counts) == options else 0) <= 1


def test_the_smallest_vocabularies_allow_every_task() -> None:
    """Every choice is made from what the vocabulary has, and so that something is left to change to."""
    backgrounds = (Background(), Background("red"), Background("blue", "striped"))
    small = Vocabulary(("circle", "ring"), ("red", "blue", "green", "cyan", "black", "white"), backgrounds=backgrounds)
    for vocabulary in (small, Vocabulary(("cross", "square"), FOUR), EASY):
        rng = generator(0)
        for _ in range(100):
            assert sample_scene(vocabulary, rng).items
            edit = sample_edit(vocabulary, rng)
            assert edit.source != edit.target
            scenes = [edit.source, edit.target, sample_caption(vocabulary, rng).scene]
            scenes += [sample_context(vocabulary, rng).target, sample_question(vocabulary, rng).scene]
            for scene in scenes:
                assert scene.background in vocabulary.backgrounds
                assert {item.shape for item in scene.items} <= {*vocabulary.shapes}
                assert {item.colour for item in scene.items} <= {*vocabulary.colours} - {scene.background.tint}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(CIRCLE, row=1.5), r"row 1\.5.*fractions of the image's side"),
        (lambda: Item("ring", "red", "face", 0.5, 0.5, 0.2), "a ring cannot be 'face'"),
        (lambda: Scene((CIRCLE,) * 5), "at most 4 items, got 5"),
        (lambda: Scene((CIRCLE,), Background("red")), "item of its background's colour, red"),
        (lambda: Background("grey", "striped"), "grey background is plain, got pattern 'striped'"),
        (lambda: Vocabulary(("circle",), FOUR), "needs two shapes, 4 colours"),
        (lambda: Vocabulary(("circle", "circle"), FOUR), "has a choice twice"),
        (lambda: draw(Scene(()), 0), "at least 1 pixel, got 0"),
        (lambda: sample_scene(EASY, generator(0), 5), "place for 0 to 4 items, got 5"),
    ],
)
def test_wrong_scenes_are_refused_with_their_values(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
