"""Steps: what they say of items, also where files are none."""

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnigen2.curation import CurationError, Frame, Item, OpenClip, through
from omnigen2.curation.steps import (
    Cuts,
    FeatureDifference,
    FramePairs,
    NoIds,
    OpenPicture,
    PixelDifference,
    SameView,
    leaked_ids,
)
from omnigen2.curation.video import Cause
from omnigen2.microworld.video import Footage, sample_video, write_video
from tests.evaluation.metrics.test_similarity import write_tiny_clip, write_tiny_dino


@pytest.fixture
def clip(tmp_path: Path) -> OpenClip:
    """A drawn video, and a folder for its frames."""
    video = sample_video(3, Footage(shots=(2, 2), seconds=(0.9, 1.2), moving=0, fades=0))
    write_video(video, tmp_path / "video.mp4")
    return OpenClip(tmp_path / "video.mp4", tmp_path)


def test_a_video_becomes_scenes_pairs_and_scores(clip: OpenClip) -> None:
    scenes, _, _ = through("cuts", Cuts(), [Item()], clip)
    assert [scene.key for scene in scenes] == ["scene 0", "scene 1"]
    pairs, ended, _ = through("pairs", FramePairs(gaps=(0.4, 5.0), most=2), scenes, clip)
    assert not ended
    assert len(pairs) == len({pair.key for pair in pairs}) == 4
    assert {clip.read(frame).size for pair in pairs for frame in pair.frames} == {(64, 64)}
    for pair in pairs:
        assert pair.span is not None
        assert pair.span[0] <= pair.frames[0].seconds < pair.frames[1].seconds < pair.span[1]
    scored, dropped, _ = through("view", SameView(0.0), pairs, clip)
    scored, _, _ = through("pixels", PixelDifference(0.0, 1.0), scored, clip)
    assert not dropped
    assert all({"same_view", "pixel_difference"} == set(pair.scores) for pair in scored)
    _, ended, _ = through("view", SameView(1.5), pairs, clip)
    assert [end.reason for end in ended] == ["another viewpoint"] * 4
    assert [end.item.scores["same_view"] for end in ended] == [pair.scores["same_view"] for pair in scored]


def test_no_video_and_scenes_without_a_pair_have_a_reason(clip: OpenClip, tmp_path: Path) -> None:
    (tmp_path / "none.mp4").write_bytes(b"this is no video")
    _, (end,), _ = through("cuts", Cuts(), [Item()], OpenClip(tmp_path / "none.mp4", tmp_path))
    assert end.reason in get_args(Cause)
    assert str(tmp_path) not in end.detail
    _, ended, _ = through("pairs", FramePairs(gaps=(9.0,)), [Item(span=(0.0, 1.0))], clip)
    assert [end.reason for end in ended] == ["too short for a pair"]


@pytest.mark.parametrize(("features", "write"), [("dino", write_tiny_dino), ("clip", write_tiny_clip)])
def test_models_of_local_folders_measure_pairs(tmp_path: Path, features: Any, write: Any) -> None:
    with pytest.raises(CurationError, match="there is no model in"):
        FeatureDifference(features, str(tmp_path / "nothing")).check()
    write(tmp_path / "model")
    step = FeatureDifference(features, str(tmp_path / "model"), least=1e-6)
    step.check()
    clip = OpenClip(tmp_path / "x.mp4", tmp_path)
    frames = [_frame(clip, seconds, colour) for seconds, colour in ((0.0, 10), (1.0, 10), (2.0, 240))]
    items = [Item("same", frames=(frames[0], frames[1])), Item("other", frames=(frames[0], frames[2]))]
    kept, ended, _ = through("model", step, items, clip)
    assert [item.key for item in kept] == ["other"]
    assert [(end.item.key, end.reason) for end in ended] == [("same", "nearly equal")]


def _frame(clip: OpenClip, seconds: float, colour: int) -> Frame:
    path = clip.folder / "frames" / f"{seconds}.png"
    path.parent.mkdir(exist_ok=True)
    picture = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
    picture.paste((colour, 255 - colour, 90), (0, 0, 8, 16))
    picture.save(path)
    return Frame(seconds, f"frames/{seconds}.png")


IDS = ["man-1", "<obj_2>", "[subject 1]", "person_3", "dog#2", "Object 12", "bbox_4", "WOMAN-02"]
PLAIN = ["a t-shirt", "covid-19", "a 3-legged stool", "two dogs", "make it 50% larger", "the boy's hat (red)", "u-turn"]


@given(st.sampled_from(IDS), st.sampled_from(PLAIN))
def test_ids_are_found_and_words_are_not(name: str, words: str) -> None:
    assert leaked_ids(f"let {words} face {name}, then stop")
    assert leaked_ids(f"let {words} stop") == []


def test_an_instruction_with_an_id_is_dropped_by_name(tmp_path: Path) -> None:
    items = [Item(instruction="make man-1 smile"), Item(instruction="make the man smile")]
    kept, (end,), _ = through("no_ids", NoIds(), items, OpenClip(tmp_path, tmp_path))
    assert (end.reason, kept) == ("an id in the instruction", items[1:])
    assert "man-1" in end.detail


def test_a_picture_file_is_an_item_with_one_upright_frame(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # shown turned by a quarter
    Image.new("L", (5, 3), 90).save(tmp_path / "a.jpg", exif=turned)
    clip = OpenClip(tmp_path / "a.jpg", tmp_path / "out")
    ((item,), _, _) = through("open", OpenPicture(), [Item()], clip)
    picture = clip.read(item.frames[0])
    assert (picture.size, picture.mode, item.span) == ((3, 5), "RGB", None)
    (tmp_path / "b.png").write_bytes(b"none")
    _, (end,), _ = through("open", OpenPicture(), [Item()], OpenClip(tmp_path / "b.png", tmp_path))
    assert (end.reason, str(tmp_path) in end.detail) == ("a picture that cannot be read", False)
    assert "b.png" in end.detail
