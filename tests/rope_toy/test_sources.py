import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.rope_toy import sources
from omnigen2.rope_toy.sources import (
    EVALUATION_PHOTOS,
    TRAINING_PHOTOS,
    ImageSource,
    Photographs,
    PlaneWaves,
    locate,
    shrunk,
)

SOURCES: list[ImageSource] = [Photographs(), PlaneWaves()]


def test_the_photographs_are_found_without_a_network_and_without_importing_their_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError(f"tried to connect: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    before = set(sys.modules)
    Photographs()
    assert not {name.partition(".")[0] for name in set(sys.modules) - before} & {"skimage", "sklearn", "pooch"}


@pytest.mark.parametrize("photo", TRAINING_PHOTOS + EVALUATION_PHOTOS)
def test_every_photograph_is_one(photo: str) -> None:
    (small,) = shrunk(locate(photo), (4,))
    assert small.min() >= -1
    assert small.max() <= 1
    assert small.shape[0] == 3
    assert min(small.shape[1:]) >= 60
    neighbours = np.abs(np.diff(small, axis=2)).mean()
    strangers = np.abs(small - np.random.default_rng(0).permuted(small, axis=2)).mean()
    assert 0.005 < neighbours < 0.7 * strangers, "a photograph is neither flat nor noise"
    assert len(np.unique(small)) > 200, "a photograph is no drawing in a few colours"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
@given(height=st.integers(1, 24), width=st.integers(1, 24), seed=st.integers(0, 2**31))
def test_law_a_draw_is_a_pure_function_of_the_generator(
    source: ImageSource, height: int, width: int, seed: int
) -> None:
    for split in ("train", "evaluation"):
        first, second = (source.draw(height, width, split, np.random.default_rng(seed)) for _ in range(2))
        assert torch.equal(first, second)
        assert first.shape == (3, height, width)
        assert first.dtype == torch.float32
        assert -1 <= first.min() <= first.max() <= 1


def test_blocks_are_averages(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    (small,) = shrunk(tmp_path / "picture.png", (4,))
    expected = pixels[:8, :12].reshape(2, 4, 3, 4, 3).mean((1, 3)).transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(small, expected, atol=1e-6)


def test_held_out_photographs_never_appear_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {locate(photo): number for number, photo in enumerate(TRAINING_PHOTOS + EVALUATION_PHOTOS)}

    def painted(file: Path, blocks: tuple[int, ...]) -> list[np.ndarray]:
        """Stand-ins whose brightness says which photograph they are."""
        return [np.full((3, 40, 40), files[file] / 100, dtype=np.float32) for _ in blocks]

    monkeypatch.setattr(sources, "shrunk", painted)
    source = Photographs()
    rng = np.random.default_rng(0)

    def seen(split: str) -> set[int]:
        return {round(100 * float(source.draw(6, 6, split, rng)[0, 0, 0])) for _ in range(300)}

    assert seen("train") == set(range(len(TRAINING_PHOTOS)))
    assert seen("evaluation") == set(range(len(TRAINING_PHOTOS), len(files)))
    assert len(EVALUATION_PHOTOS) == 3


def test_a_missing_package_names_the_extra_to_install() -> None:
    with pytest.raises(ImportError, match=r'no_such_package.*pip install "omnigen2\[toy\]".*PlaneWaves'):
        Photographs(train=["no_such_package/x.png"])


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"skimage .* data/unicorn\.png"):
        Photographs(train=["skimage/data/unicorn.png"])


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"held out.*\['skimage/data/coffee\.png'\]"):
        Photographs(train=(*TRAINING_PHOTOS, EVALUATION_PHOTOS[1]))
    with pytest.raises(ValueError, match=r"blocks \[0\]"):
        Photographs(blocks=[0])
    with pytest.raises(ValueError, match="0 for training, 3 for evaluation"):
        Photographs(train=[])
    with pytest.raises(ValueError, match="got 0"):
        PlaneWaves(0)
    with pytest.raises(ValueError, match="9999x6 pixels does not fit"):
        SOURCES[0].draw(9999, 6, "train", np.random.default_rng(0))
