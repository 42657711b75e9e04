"""Subjects found, tracked and repainted: what the steps promise, in a world where the subject is what is red."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnigen2.curation import CurationError, Frame, Item, OpenClip, Step, Subject, through
from omnigen2.curation.models import Detector, Embedder, Found
from omnigen2.curation.steps import (
    EraseSubject,
    FillRegion,
    FindSubjects,
    KeyFrames,
    LastWhole,
    NewBackground,
    SubjectKept,
    TrackSubjects,
)
from omnigen2.curation.steps.masks import box_of, frayed, grown, keep_made, keep_mask, read_mask
from omnigen2.curation.steps.subjects import apart, cut_off, shared
from tests.curation.stand_ins import GREY, RED, Plain, RedPixels, Reds, write_red

one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def clip(tmp_path: Path) -> OpenClip:
    return OpenClip(tmp_path / "clip.mp4", tmp_path)


def scene(*lefts: int, side: int = 20, height: int = 48, width: int = 64) -> list[Any]:
    """Pictures of a red square, with its left side at some columns."""
    pictures = [np.full((height, width, 3), GREY, np.uint8) for _ in lefts]
    for picture, left in zip(pictures, lefts, strict=True):
        picture[12 : 12 + side, max(0, left) : max(0, left + side)] = RED
    return pictures


def item_of(clip: OpenClip, pictures: Sequence[Any], names: Sequence[str] = ("the red square",)) -> Item:
    frames = tuple(keep_made(clip, float(number), picture, "scene") for number, picture in enumerate(pictures))
    return Item("scene 0", (0.0, float(len(frames))), frames, tuple(map(Subject, names)))


def kept(step: Step, item: Item, clip: OpenClip) -> Item:
    """The one item that comes out."""
    (given,), ended, count = through("step", step, [item], clip)
    assert not ended
    assert count.taken == count.went_on
    return given


def reason(step: Step, item: Item, clip: OpenClip) -> tuple[str, str]:
    """Why nothing comes out."""
    given, (end,), _ = through("step", step, [item], clip)
    assert not given
    return end.reason, end.detail


def pair(clip: OpenClip, *lefts: int) -> Item:
    """A base frame and a target with masks, as they are after `LastWhole`."""
    item = kept(FindSubjects(Reds()), item_of(clip, scene(*lefts)), clip)
    return kept(LastWhole(), kept(TrackSubjects(RedPixels()), item, clip), clip)


def pixels(clip: OpenClip, frame: Frame) -> Any:
    return np.asarray(clip.read(frame))


@given(
    start=st.floats(0, 50), length=st.floats(0.01, 60), most=st.integers(1, 12), gap=st.floats(0.05, 5),
    margin=st.floats(0, 2),
)  # fmt: skip
def test_key_frames_are_even_and_within_the_scene(
    start: float, length: float, most: int, gap: float, margin: float
) -> None:
    times = KeyFrames(most, gap, margin).times(start, start + length)
    assert 1 <= len(times) <= most
    if len(times) == 1:
        assert times == [pytest.approx(start + length / 2)]
        return
    assert times[0] == pytest.approx(start + margin)
    assert times[-1] == pytest.approx(start + length - margin)
    steps = np.diff(times)
    assert steps.min() >= gap - 1e-6
    assert steps.max() == pytest.approx(steps.min(), abs=1e-6)


def test_key_frames_of_a_video(tmp_path: Path) -> None:
    write_red(tmp_path / "clip.mp4", 1.0)
    clip = OpenClip(tmp_path / "clip.mp4", tmp_path)
    item = kept(KeyFrames(most=3, gap=0.2, margin=0.0), Item(span=(0.0, 1.0)), clip)
    assert [frame.seconds for frame in item.frames] == [pytest.approx(time) for time in (0.0, 0.5, 0.9)]
    assert [int(pixels(clip, frame)[20].argmax(0)[0]) for frame in item.frames] == [4, 9, 13]
    assert len(kept(KeyFrames(most=9, gap=0.01), Item(span=(0.4, 0.5)), clip).frames) == 1  # two times, one picture
    (tmp_path / "none.mp4").write_bytes(b"this is no video")
    assert reason(KeyFrames(), Item(), OpenClip(tmp_path / "none.mp4", tmp_path))[0] == "unreadable"


class Said(Detector):
    """Finds what it is told."""

    def __init__(self, *found: Found) -> None:
        self.found = found

    def find(self, picture: Any, names: Sequence[str]) -> Sequence[Found]:
        return self.found


LARGE, SMALL = (0.0, 0.0, 30.0, 40.0), (40.0, 0.0, 50.0, 10.0)


def test_the_surest_box_of_each_name_counts_and_small_subjects_leave(clip: OpenClip) -> None:
    item = item_of(clip, scene(4), ["a cat", "a dog", "a hat", "a fox"])
    near = (1.0, 0.0, 31.0, 40.0)
    detector = Said(
        Found("a dog", near, 0.7), Found("a cat", LARGE, 0.8), Found("a cat", (33.0, 0.0, 60.0, 30.0), 0.5),
        Found("a hat", SMALL, 0.9),
    )  # fmt: skip
    found = kept(FindSubjects(detector), item, clip)
    assert found.subjects == (Subject("a cat", LARGE, 0.8),)  # "a dog" is the same thing, less surely
    assert found.made["boxes"] == {"model": "Said", "missing": ["a dog", "a fox"], "small": ["a hat"]}
    assert found.scores == {"subject_area": pytest.approx(1200 / (48 * 64))}
    assert [one.name for one in kept(FindSubjects(detector, 0.01), item, clip).subjects] == ["a cat", "a hat"]
    assert [one.name for one in kept(FindSubjects(detector, 0.01, 0.95), item, clip).subjects] == [
        "a cat", "a dog", "a hat",
    ]  # fmt: skip
    assert reason(FindSubjects(detector, 0.5), item, clip)[0] == "all subjects are too small"
    assert reason(FindSubjects(Said()), item, clip) == ("no subject was found", "a cat, a dog, a hat, a fox")


boxes = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2).map(
    lambda box: (float(box[0]), float(box[1]), float(box[0] + box[2]), float(box[1] + box[3]))
)


@given(
    found=st.lists(st.builds(Found, st.sampled_from("ab"), boxes, st.floats(0, 1)), max_size=8),
    overlap=st.floats(0, 1),
)
def test_boxes_that_are_left_do_not_overlap_and_others_had_a_surer_one(found: list[Found], overlap: float) -> None:
    left = apart(found, overlap)
    for number, one in enumerate(left):
        assert all(shared(one.box, other.box) <= overlap for other in left[:number])
    for one in found:
        if one not in left:
            assert any(shared(one.box, other.box) > overlap and other.score >= one.score for other in left)


def test_each_frame_gets_the_masks_of_all_subjects(clip: OpenClip) -> None:
    item = item_of(clip, scene(4, 30, 80), ["a cat", "a dog"])
    assert reason(TrackSubjects(RedPixels()), item, clip)[0] == "a subject has no box"
    item = replace(item, subjects=(Subject("a cat", LARGE), Subject("a dog", SMALL)))
    tracked = kept(TrackSubjects(RedPixels()), item, clip)
    for subject in tracked.subjects:
        assert [int(read_mask(clip, mask).sum()) for mask in subject.masks] == [400, 400, 0]
    assert Item.from_json(json.loads(json.dumps(tracked.to_json()))) == tracked


@one_folder
@given(lefts=st.lists(st.sampled_from([-25, -15, -3, 0, 4, 20, 43, 50, 58, 80]), min_size=1, max_size=5))
def test_the_last_whole_frame_is_the_last(clip: OpenClip, lefts: list[int]) -> None:
    item = item_of(clip, scene(*lefts))
    masks = tuple(keep_mask(clip, frame.seconds, pixels(clip, frame)[..., 0] == RED[0]) for frame in item.frames)
    step = LastWhole(least=0.03, border=0.2)
    item = replace(item, subjects=(Subject("it", LARGE, 1.0, masks),))
    whole = [0 < left < 44 for left in lefts]
    given, ended, _ = through("last", step, [item], clip)
    assert len(given) + len(ended) == 1
    if whole[0] and any(whole[1:]):
        last = max(number for number, fine in enumerate(whole) if fine)
        assert given[0].frames == (item.frames[0], item.frames[last])
        assert given[0].subjects[0].masks == (masks[0], masks[last])
    else:
        first = "a subject is not whole in the first frame"
        assert ended[0].reason == ("no later frame shows all subjects whole" if whole[0] else first)


def test_one_of_two_subjects_that_is_gone_ends_the_pair(clip: OpenClip) -> None:
    item = item_of(clip, scene(4, 10, 16))
    masks = [keep_mask(clip, frame.seconds, pixels(clip, frame)[..., 0] == RED[0]) for frame in item.frames]
    nothing = keep_mask(clip, 2.0, np.zeros((48, 64), bool))
    there, gone = Subject("it", LARGE, 1.0, tuple(masks)), Subject("that", LARGE, 1.0, (*masks[:2], nothing))
    assert kept(LastWhole(), replace(item, subjects=(there, gone)), clip).frames == item.frames[:2]
    gone = replace(gone, masks=(masks[0], nothing, nothing))
    said = reason(LastWhole(), replace(item, subjects=(there, gone)), clip)
    assert said == ("no later frame shows all subjects whole", "that is not seen at 1.000 s")
    assert LastWhole().fault(np.ones((9, 9), bool)) == "is too large"
    assert LastWhole().fault(np.eye(20, dtype=bool)[:, :1]) == "is cut off"


def test_what_is_cut_off() -> None:
    mask = np.zeros((10, 10), bool)
    mask[3:6, 3:6] = True
    assert cut_off(mask) == 0
    assert cut_off(np.roll(mask, 4, 1)) == 3 / 8
    assert cut_off(mask & False) == 0


def test_each_subject_gets_a_background_and_stays_as_it_was(clip: OpenClip) -> None:
    item = pair(clip, 4, 30)
    left = np.zeros((48, 64), bool)
    left[:, :14] = True
    halves = [read_mask(clip, item.subjects[0].masks[0]) & side for side in (left, ~left)]
    subjects = tuple(
        replace(item.subjects[0], name=name, masks=(keep_mask(clip, 0.0, half), item.subjects[0].masks[1]))
        for name, half in zip(("its left", "its right"), halves, strict=True)
    )
    item = replace(item, subjects=subjects)
    painted = kept(NewBackground(Plain()), item, clip)
    *references, target = painted.frames
    assert target == item.frames[1]
    base = pixels(clip, item.frames[0])
    for number, (reference, half) in enumerate(zip(references, halves, strict=True)):
        shown = pixels(clip, reference)
        assert np.array_equal(shown[half], base[half])
        assert not (shown == base).all(-1)[~half].any()
        seen = [read_mask(clip, mask) for mask in painted.subjects[number].masks]
        assert np.array_equal(seen[number], half)
        assert not seen[1 - number].any()
    assert [subject.box is None for subject in painted.subjects] == [False, True]
    made = painted.made["background"]
    assert Frame(**made["base"]) == item.frames[0]
    assert {"model": "Plain"}.items() <= made["pictures"][0].items()
    assert made["pictures"][1]["prompt"].startswith("its right ")
    assert kept(NewBackground(Plain()), replace(item, key="of another name"), clip).frames == painted.frames
    assert kept(NewBackground(Plain(), seed=1), item, clip).frames[0] != references[0]
    both = kept(NewBackground(Plain(), places=(), together=True), item, clip)
    assert len(both.frames) == 2
    assert both.made["background"]["pictures"][0]["prompt"] == ""
    shown = pixels(clip, both.frames[0])
    assert np.array_equal((shown == base).all(-1), halves[0] | halves[1])
    assert reason(NewBackground(Plain()), replace(item, subjects=()), clip)[0] == "there is nothing to paint around"


class Means(Embedder):
    """The mean colour."""

    def __call__(self, pictures: Any) -> Any:
        return torch.stack([picture.mean((1, 2)) + 1.01 for picture in pictures])


def test_a_subject_that_grew_or_is_another_one_is_dropped(clip: OpenClip) -> None:
    item = pair(clip, 4, 30)
    step = SubjectKept(Means(), kept=0.999, same=0.999, margin=0.5)
    assert "there is no new background to look at" in reason(step, item, clip)[1]
    painted = kept(NewBackground(Plain()), item, clip)
    fine = replace(painted, frames=item.frames)
    scores = kept(step, fine, clip).scores
    assert [scores["subject_kept"], scores["subject_same"]] == pytest.approx([1, 1])
    red = keep_made(clip, 0.0, np.full((48, 64, 3), RED, np.uint8), "grown")
    grew = replace(painted, frames=(red, painted.frames[1]))
    assert reason(step, grew, clip)[0] == "the new background changed the subject"
    black = keep_made(clip, 1.0, np.zeros((48, 64, 3), np.uint8), "gone")
    other = replace(fine, frames=(fine.frames[0], black))
    assert reason(step, other, clip)[0] == "the target shows another subject"


def test_the_target_without_the_subject_is_the_input(clip: OpenClip) -> None:
    item = kept(NewBackground(Plain()), pair(clip, 4, 30), clip)
    erased = kept(EraseSubject(Plain(), grow=0.05), item, clip)
    context, given, target = erased.frames
    assert (context, target) == item.frames
    mask = read_mask(clip, item.subjects[0].masks[-1])
    changed = (pixels(clip, given) != pixels(clip, target)).any(-1)
    assert np.array_equal(changed, grown(mask, 0.05))
    assert mask.sum() < changed.sum()
    assert [bool(read_mask(clip, one).any()) for one in erased.subjects[0].masks] == [True, False, True]
    assert erased.made["erased"]["prompt"] == ""
    assert reason(EraseSubject(Plain()), replace(item, subjects=()), clip)[0] == "there is no subject to take out"


@one_folder
@given(
    height=st.integers(16, 60), width=st.integers(16, 60), seed=st.integers(0, 9), least=st.floats(0.1, 0.5),
    more=st.floats(0.1, 0.4),
)  # fmt: skip
def test_a_region_is_painted_and_the_original_is_the_target(
    clip: OpenClip, height: int, width: int, seed: int, least: float, more: float
) -> None:
    item = item_of(clip, scene(4, side=9, height=height, width=width), [])
    step = FillRegion(Plain(), regions=2, least=least, most=least + more, seed=seed)
    given, ended, _ = through("fill", step, [item], clip)
    assert bool(given) != bool(ended)
    assert len({one.key for one in given}) == len(given)
    for one in given:
        filled, original = one.frames
        assert original == item.frames[0]
        changed = (pixels(clip, filled) != pixels(clip, original)).any(-1)
        assert least <= changed.mean() <= least + more
        left, top, right, bottom = one.made["filled"]["region"]
        assert changed[top:bottom, left:right].all()
        assert changed.sum() == (bottom - top) * (right - left)
    assert through("fill", step, [item], clip)[0] == given


def test_regions_are_those_of_subjects_where_there_are_some(clip: OpenClip) -> None:
    item = kept(FindSubjects(Reds()), item_of(clip, scene(4)), clip)
    filled = kept(FillRegion(Plain(), grow=0.0), item, clip)
    assert filled.made["filled"]["region"] == (4, 12, 24, 32)
    assert (filled.key, filled.subjects) == ("scene 0, without the red square", ())
    masked = kept(FillRegion(Plain(), grow=0.0), kept(TrackSubjects(RedPixels()), item, clip), clip)
    assert masked.frames == filled.frames
    assert reason(FillRegion(Plain(), least=0.9, most=1.0), item, clip)[0] == "no region of the right size"
    nowhere = replace(item, subjects=(Subject("a cat"),))
    assert "there is no box of 'a cat'" in reason(FillRegion(Plain()), nowhere, clip)[1]
    both = replace(item, subjects=(*item.subjects, Subject("a speck", (0.0, 0.0, 1.0, 1.0))))
    assert kept(FillRegion(Plain(), grow=0.0), both, clip).made["filled"]["left_out"] == ["a speck"]


@given(
    height=st.integers(24, 40), width=st.integers(24, 40), margin=st.integers(0, 5),
    share=st.sampled_from([0.0, 0.03, 0.1]), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_frayed_mask_loses_an_uneven_rim_at_most_so_deep(
    height: int, width: int, margin: int, share: float, seed: int
) -> None:
    mask = np.zeros((height, width), bool)
    mask[margin : height - margin, margin : width - margin] = True
    assert box_of(mask) == (margin, margin, width - margin, height - margin)
    rest = frayed(mask, share, seed)
    assert np.array_equal(rest, frayed(mask, share, seed))
    assert not (rest & ~mask).any()
    assert (rest | grown(~mask, share + 1 / max(mask.shape))).all()
    if share != 0.03:
        assert np.array_equal(rest, mask) == (share == 0 or margin == 0)


@pytest.mark.parametrize(
    "build",
    [
        lambda: KeyFrames(0),
        lambda: KeyFrames(gap=0.0),
        lambda: NewBackground(Plain(), fray=-0.1),
        lambda: EraseSubject(Plain(), grow=-0.1),
        lambda: FillRegion(Plain(), least=0.6, most=0.5),
        lambda: FillRegion(Plain(), regions=0),
    ],
    ids=["most", "gap", "fray", "grow", "least", "regions"],
)
def test_settings_out_of_range_are_refused(build: Any) -> None:
    with pytest.raises(CurationError, match="give "):
        build()
