"""The world's judge is exact: what it says is wrong is wrong, and what it says is to be done mends it."""

import json
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.curation.reflection import Prompt, Shown, Verdict, read_prompts
from omnigen2.errors import UserError
from omnigen2.microworld.curated import mending
from omnigen2.microworld.curated.reflecting import HELD_OUT, PRAISE, MicroReflector, judged, write_prompts
from omnigen2.microworld.tasks import check, sample_caption, sample_edit, to_json
from omnigen2.microworld.video import edits_between
from omnigen2.microworld.world import EASY, Background, Reading, Scene, all_words, draw, full_vocabulary, sample_scene

seeds = st.integers(0, 2**32 - 1)
WORDS = set(all_words())


def reading_of(items: tuple, background: Background | None, unknown: int = 0) -> Reading:
    return replace(Reading.of(Scene(())), seen=tuple(map(_seen, items)), background=background, unknown=unknown)


def _seen(item):
    return Reading.of(Scene((item,))).seen[0]


@settings(max_examples=100, deadline=None)
@given(seeds, st.sampled_from([EASY, full_vocabulary(64)]), st.integers(0, 2), st.booleans())
def test_what_is_to_be_done_mends_the_picture(seed: int, vocabulary, unknown: int, near: bool) -> None:
    rng = np.random.default_rng(seed)
    task = sample_caption(vocabulary, rng)
    scene = task.scene if near else sample_scene(vocabulary, rng, count=int(rng.integers(0, 5)))
    items = scene.items[: int(rng.integers(0, 5))]
    background = scene.background if rng.random() < 0.9 else None
    reading = reading_of(items, background, unknown)
    asked = task.specification
    said = judged(asked, reading)
    assert isinstance(said, Verdict)
    assert said.right == check(asked, reading).exact
    assert set(said.answer.split()) <= WORDS
    if said.right:
        assert said.answer == PRAISE
        return
    assert said.score < 1
    found = mending.mends(asked, reading)
    assert said.edit == found[0].change
    last = found[-1]
    assert check(asked, reading_of(last.items, last.background)).exact
    for mend in found:
        _is_an_edit(mend, items, background)
        items, background = mend.items, mend.background


def _is_an_edit(mend: mending.Mend, items: tuple, background: Background | None) -> None:
    """Its words are those of the edit that lies between the two scenes, where a task could name it."""
    kinds = [(item.shape, item.colour, item.texture) for item in items]
    plain = background == mend.background is not None and len(set(kinds)) == len(kinds)
    if mend.change == "remove the thing" or not plain or {"small", "large"} & set(mend.change.split()):
        return
    if any(one.colour == background.tint for one in (*items, *mend.items)):
        return
    words = [edit.instruction for edit in edits_between(Scene(items, background), Scene(mend.items, background))]
    assert mend.change in words, (mend.change, words)


@settings(max_examples=6, deadline=None)
@given(seeds)
def test_drawn_scenes_are_right_and_edited_ones_are_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    task = sample_caption(full_vocabulary(64), rng)
    prompt = Prompt(task.text, 0, 64, 64, to_json(task))
    gone = Scene(task.scene.items[1:], task.scene.background)
    right, wrong, noise = MicroReflector().judge(
        [Shown(prompt, picture) for picture in (draw(task.scene, 64), draw(gone, 64), torch.rand(3, 64, 64) * 2 - 1)]
    )
    assert isinstance(right, Verdict)
    assert right.right
    for said in (wrong, noise):
        assert isinstance(said, Verdict)
        assert not said.right


def test_words_of_a_verdict() -> None:
    task = sample_caption(EASY, np.random.default_rng(0), "position")
    first, second = task.scene.items
    swapped = replace(first, row=second.row, column=second.column), replace(second, row=first.row, column=first.column)
    asked = task.specification
    one, two = asked.include
    said = judged(asked, reading_of(swapped, task.scene.background))
    assert isinstance(said, Verdict)
    relation = asked.beside[0].relation
    assert said.problems == (f"there is no {one.colour} {one.shape} {relation} a {two.colour} {two.shape}",)
    assert set(said.changes[0].split()[:3]) <= {"move", "the", one.colour, two.colour}


@pytest.mark.parametrize("part", ["train", "held_out"])
def test_captions_are_in_one_part_alone(tmp_path: Path, part) -> None:
    write_prompts(tmp_path / "prompts.jsonl", 40, part=part)
    prompts = read_prompts(tmp_path / "prompts.jsonl", 0, 1024, 1024)
    MicroReflector().check(prompts)
    assert len(prompts) == 40
    assert {(one.height, one.width) for one in prompts} == {(64, 64)}
    assert {crc32(one.text.encode()) % HELD_OUT == 0 for one in prompts} == {part == "held_out"}


def test_prompts_that_the_rules_cannot_judge_are_refused() -> None:
    edit = to_json(sample_edit(EASY, np.random.default_rng(0)))
    for meta, problem in (("", "no task"), (json.dumps({"task": "caption"}), "no task"), (edit, "task of a EditTask")):
        with pytest.raises(UserError, match=problem):
            MicroReflector().check([Prompt("a red square", 0, 64, 64, meta)])
    with pytest.raises(UserError, match="square"):
        MicroReflector().check([Prompt("a red square", 0, 64, 48)])
