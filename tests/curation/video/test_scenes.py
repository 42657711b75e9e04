"""Scenes: true cuts are found in seconds; fades count once, flashes and objects that change do not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.curation.video import SIDE, Frame, SceneCuts, Span, Video
from omnigen2.microworld.video import DrawnVideo, Footage, draw_moment, sample_video, write_video
from tests.curation.clips import CLIPS

FOOTAGE = Footage(shots=(3, 3), seconds=(1.2, 1.6), flicker=0.03, fades=0.0)


def frames(video: DrawnVideo) -> list[Frame]:
    return [Frame(moment.time, draw_moment(video, moment)) for moment in video.moments]


@pytest.mark.parametrize(("seed", "uneven"), [(1, False), (2, True)])
def test_cuts_are_found_in_a_real_file(seed: int, uneven: bool, tmp_path: Path) -> None:
    """Also where frames last for unequal times, in seconds and to the frame."""
    drawn = sample_video(seed, replace(FOOTAGE, uneven=uneven, flashes=1.0))
    write_video(drawn, tmp_path / "video.mp4")
    video = Video.open(tmp_path / "video.mp4")
    assert isinstance(video, Video)
    spans = SceneCuts()(video.frames(side=SIDE))
    assert [span.start for span in spans[1:]] == pytest.approx([cut.start for cut in drawn.cuts])


def test_a_fade_is_one_cut_within_it() -> None:
    drawn = sample_video(4, replace(FOOTAGE, fades=1.0))
    spans = SceneCuts()(frames(drawn))
    assert len(spans) == len(drawn.cuts) + 1
    for span, cut in zip(spans[1:], drawn.cuts, strict=True):
        assert cut.start < span.start < cut.end


def test_a_flash_is_a_cut_for_who_does_not_look() -> None:
    drawn = sample_video(5, replace(FOOTAGE, shots=(1, 1), flashes=1.0))
    shown = frames(drawn)
    assert len(SceneCuts()(shown)) == 1
    assert len(SceneCuts(most=1.1)(shown)) > 1


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40), st.floats(0, 5))
def test_scenes_join_and_cover_every_frame(levels: list[int], start: float) -> None:
    shown = [Frame(start + 0.1 * place, np.full((16, 16, 3), level, np.uint8)) for place, level in enumerate(levels)]
    spans = SceneCuts()(shown)
    assert spans[0].start == shown[0].time
    assert spans[-1].end > shown[-1].time
    assert all(one.end == other.start for one, other in zip(spans, spans[1:], strict=False))
    assert all(span.length > 0.29 for span in spans[:-1])


def test_no_frames_no_scenes() -> None:
    assert SceneCuts()([]) == ()


@pytest.mark.parametrize(
    ("name", "cuts"), [("bikes", (1.2, 3.04, 5.48, 7.48, 9.68)), ("bigbuckbunny", ()), ("carphone_pristine", ())]
)
def test_real_clips(name: str, cuts: tuple[float, ...]) -> None:
    video = Video.open(CLIPS / f"{name}.mp4")
    assert isinstance(video, Video)
    shown = video.frames(side=128)
    spans = SceneCuts()(shown)
    assert shown.fault is None
    assert [span.start for span in spans[1:]] == pytest.approx(cuts)
    assert isinstance(spans[0], Span)
