"""Edits change what they say and nothing else, and their verdicts tell the difference."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.microworld.tasks import EDIT_KINDS, EditKind, edit_kinds, sample_edit, verify_edit
from omnigen2.microworld.world import (
    EASY,
    Background,
    ImageSize,
    Item,
    Reading,
    Scene,
    Vocabulary,
    Window,
    balanced,
    draw,
)
from tests.microworld.worlds import generator, seeds, worlds


def covered(items: tuple[Item, ...], size: int) -> Tensor:
    """Pixels where nothing of the background shows."""
    found = torch.zeros(size, size, dtype=torch.bool)
    for item in items:
        window = Window.around(item, size)
        found[window.rows, window.columns] |= torch.from_numpy(window.layers(item.shape, item.texture)[0] == 0)
    return found


def near(items: tuple[Item, ...], size: int) -> Tensor:
    """Pixels up to 1.3 radii, and one pixel, from the centres of items."""
    at = (torch.arange(size) + 0.5) / size
    close = [
        torch.hypot(at[:, None] - item.row, at[None, :] - item.column) < 1.3 * item.radius + 1 / size for item in items
    ]
    return torch.stack(close).any(0)


worlds_and_kinds = worlds.flatmap(lambda world: st.sampled_from(edit_kinds(world[1])).map(lambda kind: (*world, kind)))


@given(worlds_and_kinds, seeds)
def test_source_and_target_differ_only_where_the_instruction_says(
    case: tuple[ImageSize, Vocabulary, EditKind], seed: int
) -> None:
    size, vocabulary, kind = case
    task = sample_edit(vocabulary, generator(seed), kind)
    source, target = draw(task.source, size), draw(task.target, size)
    differs = (source != target).any(0)
    assert differs.any()
    fixed = covered(task.kept, size) if kind == "background" else ~near((*task.removed, *task.added), size)
    assert not (differs & fixed).any()


@given(worlds_and_kinds, seeds)
def test_the_instruction_names_what_changes(case: tuple[ImageSize, Vocabulary, EditKind], seed: int) -> None:
    _, vocabulary, kind = case
    task = sample_edit(vocabulary, generator(seed), kind)
    changes = {
        "add": (0, 1),
        "remove": (1, 0),
        "replace": (1, 1),
        "recolour": (1, 1),
        "move": (1, 1),
        "background": (0, 0),
    }
    assert (len(task.removed), len(task.added)) == changes[kind]
    assert (task.source.background != task.target.background) == (kind == "background")
    if kind != "background":
        named = [(item.shape, item.colour) for item in (*task.removed, *task.added)]
        for shape, colour in named:
            assert shape in task.instruction
            assert colour in task.instruction
    kinds = [(item.shape, item.colour) for item in task.target.items]
    assert len(set(kinds)) == len(kinds)


@given(worlds_and_kinds, seeds)
def test_the_target_is_right_and_the_source_and_a_blank_picture_are_wrong(
    case: tuple[ImageSize, Vocabulary, EditKind], seed: int
) -> None:
    size, vocabulary, kind = case
    task = sample_edit(vocabulary, generator(seed), kind)
    assert verify_edit(task, draw(task.target, size)).exact
    copied = verify_edit(task, draw(task.source, size))
    assert copied.graded == 0
    assert not copied.exact
    assert not verify_edit(task, draw(Scene(()), size)).exact


@given(worlds_and_kinds, seeds)
def test_what_must_stay_is_missed_when_it_is_gone_moved_or_changed(
    case: tuple[ImageSize, Vocabulary, EditKind], seed: int
) -> None:
    _, vocabulary, kind = case
    task = sample_edit(vocabulary, generator(seed), kind)
    for item in task.kept:
        rest = tuple(other for other in task.target.items if other != item)
        colour = "black" if item.colour != "black" else "white"
        for broken in ((), (replace(item, colour=colour),), (replace(item, column=1 - item.column),)):
            verdict = verify_edit(task, Reading.of(replace(task.target, items=(*rest, *broken))))
            assert verdict.success.exact
            assert not verdict.preservation.exact
    if kind != "background":
        other = Background("red") if task.target.background != Background("red") else Background()
        reading = replace(Reading.of(task.target), background=other)
        assert not verify_edit(task, reading).preservation.exact


def test_all_kinds_come_equally_often_from_a_balanced_draw() -> None:
    rng = generator(1)
    tasks = [sample_edit(EASY, rng, kind) for kind in balanced(edit_kinds(EASY), 50, rng)]
    assert set(Counter(task.kind for task in tasks).values()) == {10}
    assert len(edit_kinds(EASY)) == len(EDIT_KINDS) - 1


def test_an_impossible_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'background' needs a vocabulary with several backgrounds, got 1"):
        sample_edit(EASY, generator(0), "background")
