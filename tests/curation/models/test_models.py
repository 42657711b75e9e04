"""Detector, tracker, filler and embedder: the real classes with tiny weights, and what is promised of all of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnigen2.curation import CurationError, Resources
from omnigen2.curation.models import Dino, Filler, FluxFill, GroundingDino, Model, Sam2Video, placed, sam2_video
from omnigen2.curation.models.flux_fill import STEP
from omnigen2.pictures import to_pixels
from tests.curation.models.tiny import write_tiny_flux_fill, write_tiny_grounding_dino, write_tiny_sam2
from tests.evaluation.metrics.test_similarity import write_tiny_dino


def noise(seed: int, height: int = 40, width: int = 56) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_tiny_grounding_dino(folder / "boxes")
    write_tiny_sam2(folder / "masks")
    write_tiny_flux_fill(folder / "fill")
    write_tiny_dino(folder / "dino")
    return folder


def test_boxes_lie_in_the_picture_and_carry_the_names_that_were_asked_for(folder: Path) -> None:
    detector, picture = GroundingDino(str(folder / "boxes"), 0.0, 0.0), noise(1)
    detector.check()
    names = ["The RED ball", "St. a cat"]
    found = detector.find(picture, names)
    assert {one.name for one in found} == set(names)
    for one in found:
        left, top, right, bottom = one.box
        assert 0 <= left < right <= 56
        assert 0 <= top < bottom <= 40
        assert 0 <= one.score <= 1
    assert list(found) == [one for name in names for one in detector.find(picture, [name])]  # no name sways another
    assert detector.find(picture, []) == []
    surer = GroundingDino(str(folder / "boxes"), 0.9, 0.0).find(picture, names)
    assert surer == [one for one in found if one.score > 0.9] != []
    assert GroundingDino(str(folder / "boxes"), 0.0, 1.0).find(picture, names) == []  # boxes of no word
    with pytest.raises(CurationError, match="nothing can be found by the name"):
        detector.find(picture, [" . "])


def test_masks_come_with_their_frames_and_old_frames_are_forgotten(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, boxes = Sam2Video(str(folder / "masks")), [(5.0, 5.0, 30.0, 35.0), (20.0, 0.0, 50.0, 20.0)]
    tracker.check()
    asked: list[int] = []

    def frames() -> Iterator[Any]:
        for number in range(9):
            asked.append(number)
            yield noise(number)

    remembered: list[int] = []
    forget = sam2_video.forget

    def heard(session: Any, number: int, reach: int) -> None:
        forget(session, number, reach)
        assert not session.processed_frames
        remembered.append(max(len(one["non_cond_frame_outputs"]) for one in session.output_dict_per_obj.values()))

    monkeypatch.setattr(sam2_video, "forget", heard)
    seen = []
    for masks in tracker.track(frames(), boxes):
        seen.append(masks)
        assert len(asked) == len(seen)
    assert max(remembered) == remembered[-1] == 4

    def never(session: Any, number: int, reach: int) -> None:
        return

    monkeypatch.setattr(sam2_video, "forget", never)
    whole = list(tracker.track(frames(), boxes))
    assert np.array(seen).shape == (9, 2, 40, 56)
    assert np.array_equal(seen, whole)
    assert 0 < np.array(seen)[-1].mean() < 1
    turned = next(tracker.track(frames(), boxes[::-1]))
    assert np.array_equal(turned, seen[0][::-1])
    assert not np.array_equal(turned, seen[0])
    with pytest.raises(CurationError, match="no boxes"):
        next(tracker.track(frames(), []))


@settings(max_examples=4)
@given(height=st.integers(9, 70), width=st.integers(9, 70), seed=st.integers(0, 99))
def test_flux_fills_the_mask_alone_at_any_size(folder: Path, height: int, width: int, seed: int) -> None:
    filler = FluxFill(str(folder / "fill"), steps=1, pixels=32 * 32)
    filler.check()
    picture = noise(seed, height, width)
    mask = np.zeros((height, width), bool)
    mask[height // 3 : height // 2 + 1, width // 4 : width // 2] = True
    filled = filler.fill(picture, mask, "a cat", seed)
    assert filled.shape == picture.shape
    assert np.array_equal(filled[~mask], picture[~mask])
    assert (filled != picture)[mask].mean() > 0.5
    assert np.array_equal(filled, filler.fill(picture, mask, "a cat", seed))
    assert not np.array_equal(filled, filler.fill(picture, mask, "a cat", seed + 1))


@given(height=st.integers(1, 5000), width=st.integers(1, 5000), pixels=st.integers(256, 2**22))
def test_flux_works_at_multiples_of_16_near_the_shape_of_the_picture(height: int, width: int, pixels: int) -> None:
    down, across = FluxFill("nowhere", pixels=pixels).size(height, width)
    assert down % STEP == across % STEP == 0
    assert min(down, across) >= STEP
    if min(down, across) >= 4 * STEP:
        assert down / across == pytest.approx(height / width, rel=0.3)
        assert down * across == pytest.approx(pixels, rel=0.3)


class Wild(Filler):
    """Paints everything, in a size that is wrong by some rows."""

    def __init__(self, rows: int = 0) -> None:
        self.rows = rows

    def _filled(self, picture: Any, mask: Any, prompt: str, seed: int) -> Any:
        return noise(seed, picture.shape[0] + self.rows, picture.shape[1])


@given(height=st.integers(1, 9), width=st.integers(1, 9), bits=st.integers(0, 2**81 - 1), seed=st.integers(0, 9))
def test_outside_of_the_mask_nothing_changes_whatever_a_filler_does(
    height: int, width: int, bits: int, seed: int
) -> None:
    picture = noise(5, height, width)
    mask = np.array([bits >> place & 1 for place in range(height * width)], bool).reshape(height, width)
    filled = Wild().fill(picture, mask, "", seed)
    assert np.array_equal(filled[~mask], picture[~mask])
    assert np.array_equal(filled[mask], noise(seed, height, width)[mask])
    assert filled is not picture


def test_a_filler_that_gives_another_size_is_told(folder: Path) -> None:
    with pytest.raises(CurationError, match=r"Wild gave \(42, 56, 3\) for a picture of \(40, 56, 3\)"):
        Wild(2).fill(noise(1), np.ones((40, 56), bool))
    with pytest.raises(CurationError, match=r"a mask of \(56, 40\) for a picture of \(40, 56\)"):
        Wild().fill(noise(1), np.ones((56, 40), bool))


def test_dino_gives_each_picture_its_vector(folder: Path) -> None:
    pictures = [to_pixels(Image.fromarray(noise(number, 20 + number, 30))) for number in range(3)]
    dino = Dino(str(folder / "dino"))
    assert dino(pictures).shape == (3, 16)
    assert dino(pictures)[2].equal(dino(pictures[2:])[0])
    assert dino.name == "Dino of dino"


MODELS: Sequence[tuple[type[Any], str]] = [
    (GroundingDino, "config.json"), (Sam2Video, "config.json"), (Dino, "config.json"), (FluxFill, "model_index.json"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "file"), MODELS, ids=[kind.__name__ for kind, _ in MODELS])
def test_a_folder_without_a_model_is_told_before_anything_is_loaded(kind: type[Any], file: str, tmp_path: Path) -> None:
    with pytest.raises(CurationError, match=rf"holds no model for {kind.__name__} \(there is no {file}\)"):
        kind(str(tmp_path)).check()


def test_weights_of_another_model_are_refused(folder: Path) -> None:
    with pytest.raises(CurationError, match="cannot be loaded|implies|was loaded with|has keys|lacks"):
        GroundingDino(str(folder / "dino")).find(noise(1), ["a cat"])
    with pytest.raises(CurationError, match="cannot be loaded|implies|was loaded with|has keys|lacks"):
        next(Sam2Video(str(folder / "dino")).track([noise(1)], [(0.0, 0.0, 9.0, 9.0)]))


@pytest.mark.parametrize(
    "build",
    [
        lambda: GroundingDino("x", box=1.5),
        lambda: GroundingDino("x", text=-0.1),
        lambda: FluxFill("x", steps=0),
        lambda: FluxFill("x", pixels=100),
    ],
    ids=["box", "text", "steps", "pixels"],
)
def test_settings_out_of_range_are_refused(build: Any) -> None:
    with pytest.raises(CurationError, match="give "):
        build()


def test_a_model_is_loaded_where_its_step_reserves_room() -> None:
    assert placed(Model(), Resources(0.5, workers=1)).device == "cpu"
    assert placed(Model(), Resources(0.5, 1.0, 1)).device == "cuda"
