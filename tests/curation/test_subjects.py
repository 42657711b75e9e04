"""Subjects are found and tracked: what the steps promise, in a world where the subject is what is red."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnigen2.curation import Item, OpenClip, Subject, through
from omnigen2.curation.models import Detector, Found
from omnigen2.curation.steps import (
    FindSubjects,
    KeyFrames,
    LastWhole,
    TrackSubjects,
)
from omnigen2.curation.steps.masks import keep_mask, read_mask
from omnigen2.curation.steps.subjects import apart, cut_off, shared
from tests.curation.scenes import item_of, kept, pixels, reason, scene
from tests.curation.stand_ins import RED, RedPixels, write_red

one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def clip(tmp_path: Path) -> OpenClip:
    return OpenClip(tmp_path / "clip.mp4", tmp_path)


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
