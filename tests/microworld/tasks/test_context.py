"""In-context tasks: the answer is in the references and nowhere else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.microworld.tasks import CONTEXT_KINDS, ContextKind, context_kinds, sample_context, verify_context
from omnigen2.microworld.tasks.context import ROLES
from omnigen2.microworld.world import EASY, OPPOSITE, ImageSize, Reading, draw, full_vocabulary
from omnigen2.microworld.world.scene import COLOURS, SHAPES
from tests.microworld.worlds import generator, seeds, sizes

kinds = st.sampled_from(CONTEXT_KINDS)


@given(sizes, seeds, kinds)
def test_the_target_is_right_and_each_reference_is_wrong(size: ImageSize, seed: int, kind: ContextKind) -> None:
    task = sample_context(full_vocabulary(size), generator(seed), kind)
    assert verify_context(task, draw(task.target, size)).exact
    assert not any(verify_context(task, draw(reference, size)).exact for reference in task.references)


@given(sizes, seeds, kinds)
def test_references_are_one_subject_each_and_perhaps_a_scene(size: ImageSize, seed: int, kind: ContextKind) -> None:
    task = sample_context(full_vocabulary(size), generator(seed), kind)
    assert 1 <= len(task.references) <= 3
    has_scene = not task.references[-1].items
    assert has_scene == kind.startswith("scene")
    assert len(task.subjects) == len(ROLES[kind]) == len(task.target.items)
    for role, reference, item in zip(ROLES[kind], task.references, task.target.items, strict=False):
        (subject,) = reference.items
        assert (subject.texture == "face") == (role == "character")
        assert (subject.shape, subject.colour, subject.texture) == (item.shape, item.colour, item.texture)
        assert reference.background != task.target.background
    if has_scene:
        assert task.references[-1].background == task.target.background


@given(sizes, seeds, kinds)
def test_the_text_gives_no_subject_away(size: ImageSize, seed: int, kind: ContextKind) -> None:
    task = sample_context(full_vocabulary(size), generator(seed), kind)
    words = set(task.instruction.partition(" on a ")[0].split())
    assert not words & {*COLOURS, *SHAPES, "face", "striped"}
    assert kind.startswith("scene") <= ("background" not in task.instruction)
    assert all(f"image {number}" in task.instruction for number in range(1, len(task.references) + 1))


@given(sizes, seeds, kinds)
def test_another_subject_place_or_scene_is_wrong(size: ImageSize, seed: int, kind: ContextKind) -> None:
    task = sample_context(full_vocabulary(size), generator(seed), kind)
    items = task.target.items
    for number, item in enumerate(items):
        free = [colour for colour in COLOURS if colour not in (item.colour, task.target.background.tint)]
        textures = ("plain",) if item.texture != "plain" else ("face",) if item.shape in ("circle", "square") else ()
        others = [replace(item, colour=free[seed % len(free)]), *(replace(item, texture=t) for t in textures)]
        for other in others:
            wrong = replace(task.target, items=(*items[:number], other, *items[number + 1 :]))
            verdict = verify_context(task, Reading.of(wrong))
            assert not verdict.subjects.exact
    moved = tuple(replace(item, row=1 - item.row, column=1 - item.column) for item in items)
    assert not verify_context(task, Reading.of(replace(task.target, items=moved))).following.exact
    if task.relation is not None:
        turned = replace(task, relation=OPPOSITE[task.relation])
        assert not verify_context(turned, Reading.of(task.target)).following.exact
    elsewhere = replace(Reading.of(task.target), background=None)
    assert not verify_context(task, elsewhere).following.exact
    assert verify_context(task, Reading((), None, 0)).graded == 0


def test_what_a_vocabulary_lacks_is_refused() -> None:
    assert context_kinds(EASY) == ("single_object", "multiple_object")
    assert context_kinds(full_vocabulary(16)) == CONTEXT_KINDS
    with pytest.raises(ValueError, match="'scene_object' needs a vocabulary with faces.*single_object"):
        sample_context(EASY, generator(0), "scene_object")
