"""Pairs: which times, whether the viewpoint is one, how different two pictures are, and what is there twice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from omnigen2.curation.pairs import (
    BlockHistograms,
    EmbeddingDistance,
    PixelDistance,
    frame_pairs,
    hashes,
    near_duplicates,
)
from omnigen2.curation.video import Frame, Pixels, SceneCuts, Video
from omnigen2.errors import UserError
from omnigen2.evaluation.metrics import Clip, DinoImages
from omnigen2.microworld.video import Footage, draw_moment, sample_video
from tests.curation.clips import CLIPS
from tests.evaluation.metrics.test_similarity import write_tiny_clip, write_tiny_dino


def noise(seed: int, height: int = 64, width: int = 64) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(
    st.floats(0, 100),
    st.floats(0, 20),
    st.lists(st.floats(0.05, 5), max_size=4),
    st.integers(1, 9),
    st.floats(0, 1),
)
def test_pairs_lie_in_their_scene(start: float, length: float, gaps: list[float], most: int, margin: float) -> None:
    pairs = frame_pairs(start, start + length, gaps, most, margin)
    assert len(set(pairs)) == len(pairs) <= most
    for first, second in pairs:
        assert start + margin <= first < second < start + length - margin + 1e-9
        assert any(second - first == pytest.approx(gap) for gap in gaps)
    if not pairs:
        assert all(margin + gap >= length - margin - 1e-6 for gap in gaps)


def test_pairs_of_a_scene() -> None:
    pairs = [(0.35, 2.35), (0.6, 1.6), (0.725, 1.225), (0.85, 2.85), (1.6, 2.6), (1.975, 2.475)]
    np.testing.assert_allclose(frame_pairs(0, 3.2, most=6), pairs)
    assert frame_pairs(0, 0.5) == ()
    with pytest.raises(UserError, match="above 0"):
        frame_pairs(0, 1, gaps=(0.0,))


@given(st.integers(0, 999), st.integers(1, 16), st.integers(16, 70), st.integers(16, 70))
def test_histograms_are_those_of_a_slow_count(seed: int, blocks: int, height: int, width: int) -> None:
    picture = noise(seed, height, width)
    quarters = [np.quantile(picture[..., one], (0.25, 0.5, 0.75), method="inverted_cdf") for one in range(3)]
    codes = np.zeros((height, width), dtype=int)
    for channel, borders in enumerate(quarters):
        codes = 4 * codes + (picture[..., channel, None] > borders).sum(-1)
    found = BlockHistograms(blocks).of(picture)
    rows, columns = (np.arange(length) * blocks // length for length in (height, width))
    for block in range(blocks**2):
        inside = codes[rows == block // blocks][:, columns == block % blocks]
        np.testing.assert_allclose(found[block], np.bincount(inside.ravel(), minlength=64) / inside.size, atol=1e-6)


def test_a_picture_in_strips_is_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = noise(0, 70, 50)
    whole = BlockHistograms(5).of(picture)
    monkeypatch.setattr("omnigen2.curation.pairs.viewpoint.STRIP", 350)
    np.testing.assert_array_equal(BlockHistograms(5).of(picture), whole)


@given(st.integers(0, 999), st.integers(0, 999))
def test_agreement_is_that_of_the_other_way_round_and_whole_with_itself(first: int, second: int) -> None:
    one, other = noise(first), noise(second)
    alike = BlockHistograms(8)
    assert alike(one, other) == alike(other, one)
    assert 0 <= alike(one, other) <= 1
    assert alike(one, one) == 1
    darker = (one.astype(np.float64) * 0.7 + 3).astype(np.uint8)
    assert alike(one, darker) > 0.9


def test_a_moved_camera_is_told_from_objects_that_move() -> None:
    """More pairs than a few, and the area under the curve, are in the benchmark."""
    alike = BlockHistograms()
    same: list[float] = []
    moved: list[float] = []
    for seed in range(16):
        for moving, shares in ((0.0, same), (1.0, moved)):
            video = sample_video(seed, Footage(size=128, shots=(1, 1), seconds=(1.2, 1.2), moving=moving, flicker=0.03))
            shares.append(alike(*(draw_moment(video, video.moments[place]) for place in (0, -1))))
    above = np.array(same)[:, None] > np.array(moved)[None]
    assert above.mean() > 0.99


def test_histograms_that_cannot_be() -> None:
    with pytest.raises(UserError, match="1 to 16 blocks"):
        BlockHistograms(17)
    with pytest.raises(UserError, match="no 16 blocks"):
        BlockHistograms().of(noise(0, 8, 64))


@pytest.mark.parametrize("name", ["bikes", "carphone_pristine"])
def test_real_clips_keep_their_viewpoint_within_a_scene_and_not_across_a_cut(name: str) -> None:
    video = Video.open(CLIPS / f"{name}.mp4")
    assert isinstance(video, Video)
    spans = SceneCuts()(video.frames(side=128))
    times = [time for span in spans for time in (span.start + 0.1, min(span.start + 0.3, span.end - 0.1))]
    shown = [frame.pixels for frame in video.at(times, side=320) if isinstance(frame, Frame)]
    assert len(shown) == len(times)
    alike = BlockHistograms()
    within = [alike(first, second) for first, second in zip(shown[::2], shown[1::2], strict=True)]
    across = [alike(first, second) for first, second in zip(shown[1::2], shown[2::2], strict=False)]
    assert sorted(within)[len(within) // 2] > 0.7
    assert max(across, default=0.0) < 0.4


def test_distances_by_real_classes_of_models(tmp_path: Path) -> None:
    write_tiny_dino(tmp_path / "dino")
    write_tiny_clip(tmp_path / "clip")
    one, other, third = noise(0), noise(1, 40, 50), noise(2)
    asked: list[int] = []

    for embed in (DinoImages(tmp_path / "dino"), Clip(tmp_path / "clip").images):
        asked.clear()

        def counted(pictures: list[torch.Tensor], embed: object = embed) -> torch.Tensor:
            asked.append(len(pictures))
            assert callable(embed)
            return embed(pictures)

        found = EmbeddingDistance(counted, batch=2)([(one, other), (other, one), (one, one), (one, third)])
        assert asked == [2, 1]
        assert found[0] == pytest.approx(found[1])
        assert found[2] == pytest.approx(0, abs=1e-6)
        assert all(0 < distance <= 2 for distance in (found[0], found[3]))
        assert EmbeddingDistance(counted)([]) == []


def test_features_without_a_direction_are_refused() -> None:
    with pytest.raises(UserError, match="zero or not finite"):
        EmbeddingDistance(lambda pictures: torch.zeros(len(pictures), 3))([(noise(0), noise(1))])


def test_distances_of_pixels() -> None:
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((20, 30, 3), 255, np.uint8)
    assert PixelDistance()([(black, black), (black, white)]) == pytest.approx([0, 1])


def picture(seed: int) -> Image.Image:
    return Image.fromarray(noise(seed, 8, 8)).resize((96, 64), Image.Resampling.BICUBIC)


def test_copies_are_found_and_flat_pictures_named() -> None:
    base = {str(seed): picture(seed) for seed in range(20)}
    copies = {
        "smaller": base["3"].resize((48, 32)),
        "brighter": ImageEnhance.Brightness(base["4"]).enhance(1.2),
        "mirrored": ImageOps.mirror(base["5"]),
    }
    flat = {"red": Image.new("RGB", (64, 64), "red"), "white": Image.new("RGB", (64, 64), "white")}
    whole = hashes({**base, **copies, **flat}.items())
    assert whole.flat == ("red", "white")
    found = near_duplicates(whole)
    assert {(one.first, one.second, one.mirrored) for one in found} == {
        ("3", "smaller", False), ("4", "brighter", False), ("5", "mirrored", True),
    }  # fmt: skip
    leaks = near_duplicates(hashes(copies.items()), hashes(base.items()))
    assert {(one.first, one.second) for one in leaks} == {("smaller", "3"), ("brighter", "4"), ("mirrored", "5")}
    assert near_duplicates(hashes([]), whole) == ()


def test_every_copy_is_found_however_many_there_are() -> None:
    ten = hashes([(str(place), picture(0)) for place in range(10)])
    assert len(near_duplicates(ten)) == 45
    assert len(near_duplicates(ten, ten)) == 100
