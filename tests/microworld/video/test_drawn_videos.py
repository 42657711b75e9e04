"""Drawn videos: one seed, one video; what is in the file is what was drawn; every instruction is true of its pair."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.errors import UserError
from omnigen2.microworld.tasks import verify_edit
from omnigen2.microworld.video import (
    Camera,
    Footage,
    changes,
    draw_moment,
    draw_view,
    edits_between,
    read_truth,
    sample_video,
    true_edits,
    write_video,
    write_videos,
)
from omnigen2.microworld.world import Reading, Scene, draw, full_vocabulary, read, sample_scene
from tests.microworld.worlds import generator, is_exact, seeds

SHORT = Footage(shots=(2, 2), seconds=(0.8, 1.2), rate=10)


def seen(pixels: np.ndarray) -> Reading:
    return read(torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1)


@given(seeds, st.booleans())
def test_one_seed_draws_one_video_whose_truth_agrees_with_itself(seed: int, uneven: bool) -> None:
    video = sample_video(seed, replace(SHORT, uneven=uneven, fades=0.5, flashes=0.5, flicker=0.1))
    assert sample_video(seed, video.footage) == video
    times = [moment.time for moment in video.moments]
    assert times == sorted(set(times))
    assert times[0] == 0
    assert video.end > times[-1]
    assert [moment.shot for moment in video.moments] == sorted(moment.shot for moment in video.moments)
    for number, cut in enumerate(video.cuts):
        assert video.at(cut.start).shot == number + (cut.start == cut.end)
        assert video.at(cut.end).shot == number + 1
    for start, end in video.scenes:
        assert len({moment.shot for moment in video.moments if start <= moment.time < end}) == 1
        assert min(moment.light for moment in video.moments if start <= moment.time < end) > 0.5


@given(seeds)
def test_the_first_camera_sees_what_is_drawn(seed: int) -> None:
    scene = sample_scene(full_vocabulary(32), generator(seed))
    expected = draw(scene, 32).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(draw_view(scene, Camera(), 32), expected, atol=1e-6)


@given(seeds, st.floats(-2, 2), st.floats(0.4, 2))
def test_a_camera_that_moves_with_the_world_sees_the_same(seed: int, far: float, side: float) -> None:
    """A zoom by `side` shows an object as many times larger, and its corners stand where `shift` says."""
    scene = sample_scene(full_vocabulary(64), generator(seed), count=1)
    still = replace(scene, background=replace(scene.background, tint="grey", pattern="plain"))
    camera = Camera(0.5 + 0.1 * far, 0.5, side)
    covered = [(np.abs(draw_view(still, one, 128)) > 0.5).any(-1).sum() for one in (Camera(), Camera(side=side))]
    assert Camera().shift(camera) == pytest.approx(abs(0.1 * far) + abs(side - 1) / 2)
    if side > 1:
        assert covered[1] * side**2 == pytest.approx(covered[0], rel=0.2)


@given(seeds)
def test_every_edit_between_two_moments_is_done_in_the_pixels_and_nothing_else(seed: int) -> None:
    video = sample_video(seed, replace(SHORT, moving=0.0, fades=0.0, flicker=0.03))
    rng = generator(seed)
    first, second = (video.moments[int(place)] for place in sorted(rng.integers(len(video.moments), size=2)))
    edits = true_edits(first, second)
    assert len({edit.instruction for edit in edits}) == len(edits)
    for edit in edits:
        assert len(changes(first, second)) in (1, 2)
        assert verify_edit(edit, seen(draw_moment(video, second))).exact
        source = seen(draw_moment(video, first))
        assert is_exact(source, edit.source)
        assert not verify_edit(edit, source).success.exact
    if first.shot == second.shot and not changes(first, second):
        assert edits == ()


def test_what_is_read_gives_the_words_of_the_truth() -> None:
    """Scenes that were read have small errors, which change no word; and all kinds of edits come up."""
    kinds: set[str] = set()
    for seed in range(24):
        video = sample_video(seed, replace(SHORT, moving=0.0, shots=(1, 1), changes=1))
        first, last = video.moments[0], video.moments[-1]
        readings = [seen(draw_moment(video, moment)) for moment in (first, last)]
        scenes = [Scene(reading.items, reading.background) for reading in readings if reading.background]
        truth = true_edits(first, last)
        assert {one.instruction for one in edits_between(*scenes)} == {one.instruction for one in truth}
        kinds |= {one.kind for one in truth}
    assert kinds == {"add", "remove", "recolour", "move"}


def test_moments_that_cannot_be_compared() -> None:
    video = sample_video(0, replace(SHORT, moving=1.0))
    assert true_edits(video.moments[0], video.moments[-1]) == ()
    assert true_edits(video.moments[1], video.moments[3]) == ()
    with pytest.raises(UserError, match="different actors"):
        changes(video.moments[0], video.moments[-1])


@pytest.mark.parametrize("uneven", [False, True])
def test_the_file_holds_what_was_drawn(uneven: bool, tmp_path: Path) -> None:
    video = sample_video(1, replace(SHORT, uneven=uneven, flicker=0.05))
    write_video(video, tmp_path / "one.mp4")
    with av.open(str(tmp_path / "one.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx([moment.time for moment in video.moments])
    for frame, moment in zip(frames, video.moments, strict=True):
        np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), draw_moment(video, moment))


def test_truth_comes_back_from_beside_the_file(tmp_path: Path) -> None:
    paths = write_videos(tmp_path / "videos", 2, seed=5, footage=SHORT)
    assert [read_truth(path) for path in paths] == [sample_video(seed, SHORT) for seed in (5, 6)]
    truth = paths[0].with_suffix(".json")
    truth.write_text(truth.read_text().replace("uneven", "odd"))
    with pytest.raises(UserError, match="footage that is none"):
        read_truth(paths[0])
    truth.unlink()
    with pytest.raises(UserError, match=r"000005\.json"):
        read_truth(paths[0])


@pytest.mark.parametrize("bad", [{"size": 8}, {"shots": (0, 2)}, {"seconds": (2.0, 1.0)}, {"ground": 1.5}, {"rate": 1}])
def test_footage_that_cannot_be(bad: dict[str, object]) -> None:
    with pytest.raises(UserError, match="Footage has"):
        replace(Footage(), **bad)
