"""Pictures painted anew: what the steps promise, in a world where the subject is what is red."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnigen2.curation import CurationError, Frame, OpenClip, Subject, through
from omnigen2.curation.models import Embedder
from omnigen2.curation.steps import (
    EraseSubject,
    FillRegion,
    FindSubjects,
    KeyFrames,
    NewBackground,
    SubjectKept,
    TrackSubjects,
)
from omnigen2.curation.steps.masks import box_of, frayed, grown, keep_made, keep_mask, read_mask
from tests.curation.scenes import item_of, kept, pair, pixels, reason, scene
from tests.curation.stand_ins import RED, Plain, RedPixels, Reds

one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def clip(tmp_path: Path) -> OpenClip:
    return OpenClip(tmp_path / "clip.mp4", tmp_path)


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
