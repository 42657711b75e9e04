"""Where the small pictures of the toy task come from: pieces of photographs, or waves.

The photographs ship inside scikit-image and scikit-learn; their files are read where pip has put them. Neither library
is imported, so none of its loaders, some of which download, is ever called.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image
from typing_extensions import override

from omnigen2.pictures import Picture, to_pixels

Split: TypeAlias = Literal["train", "evaluation"]
TRAINING_PHOTOS = (
    "skimage/data/astronaut.png",
    "skimage/data/brick.png",
    "skimage/data/camera.png",
    "skimage/data/coins.png",
    "skimage/data/hubble_deep_field.jpg",
    "skimage/data/ihc.png",
    "skimage/data/motorcycle_left.png",
    "skimage/data/retina.jpg",
    "skimage/data/rocket.jpg",
    "sklearn/datasets/images/flower.jpg",
)
"""Each is named by a package and a path inside the package's folder."""
EVALUATION_PHOTOS = (
    "skimage/data/chelsea.png",
    "skimage/data/coffee.png",
    "sklearn/datasets/images/china.jpg",
)
"""Held out: an animal, a thing and a place, whose pieces have about as much contrast as those for training."""


class ImageSource(ABC):
    """Draws small colour pictures, from two disjoint stocks for training and evaluation."""

    @abstractmethod
    def draw(self, height: int, width: int, split: Split, rng: np.random.Generator) -> Picture:
        """Draw one picture.

        Args:
            height: In pixels, at least 1, as is the width.
            width: In pixels.
            split: The stock to draw from.
            rng: The only source of randomness: the same state gives the same picture.

        Raises:
            ValueError: If the source has no picture of that size.
        """


class PlaneWaves(ImageSource):
    """A random colour plus a few random plane waves, for those who have no photographs at hand.

    There is no stock that could be exhausted, so evaluation pictures are new ones from the same distribution.

    Args:
        waves: Number of waves in a picture, at least 1.
    """

    def __init__(self, waves: int = 4) -> None:
        if waves < 1:
            raise ValueError(f"waves must be at least 1, got {waves}")
        self.waves = waves

    @override
    def draw(self, height: int, width: int, split: Split, rng: np.random.Generator) -> Picture:
        """Draw one picture; wavelengths are 4 pixels or more."""
        del split
        row, column = np.mgrid[:height, :width]
        colour = rng.uniform(-0.5, 0.5, (3, 1, 1))
        direction, phase = rng.uniform(0, 2 * np.pi, (2, self.waves, 1, 1))
        frequency = rng.uniform(0.2, np.pi / 2, (self.waves, 1, 1))
        waves = np.sin(frequency * (row * np.cos(direction) + column * np.sin(direction)) + phase)
        weights = rng.uniform(-0.6, 0.6, (3, self.waves))
        picture = colour + np.tensordot(weights, waves, axes=1)
        return torch.from_numpy(picture.clip(-1, 1).astype(np.float32))


def locate(photo: str) -> Path:
    """Find the file of a photograph that an installed package brings along.

    It is named by the package and the path inside its folder, such as `"skimage/data/coffee.png"`.

    Raises:
        ImportError: If the package is not installed.
        FileNotFoundError: If the installed version does not bring the file along.
    """
    package, _, path = photo.partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            f"the photograph {photo} is part of the package {package}, which is not installed; install it with "
            'pip install "omnigen2[toy]", or use PlaneWaves as the source'
        )
    file = Path(spec.submodule_search_locations[0]) / path
    if not file.is_file():
        raise FileNotFoundError(
            f"{package} is installed but does not bring along {path}; install another version with "
            'pip install --upgrade "omnigen2[toy]", leave the photograph out, or use PlaneWaves as the source'
        )
    return file


class Photographs(ImageSource):
    """Crops of photographs that have been made smaller first.

    A piece of a few pixels of a full-sized photograph is nearly one flat colour. Averaged over blocks of 4 x 4 or
    8 x 8 pixels, the same few pixels show edges and parts of things. A draw is uniform in the photograph, the block
    size and the place; the piece is then flipped left to right half of the time, and its colour channels are
    permuted.

    Args:
        train: Photographs to draw from in training, named as in `TRAINING_PHOTOS`.
        evaluation: Photographs to draw from in evaluation.
        blocks: Sides of the averaged blocks, each at least 1.

    Raises:
        ValueError: If a photograph is in both stocks, a stock or `blocks` is empty, or a block is less than 1.
        ImportError: If scikit-image or scikit-learn is not installed.
        FileNotFoundError: If an installed version lacks a file.
    """

    def __init__(
        self,
        train: Sequence[str] = TRAINING_PHOTOS,
        evaluation: Sequence[str] = EVALUATION_PHOTOS,
        blocks: Sequence[int] = (4, 8),
    ) -> None:
        shared = sorted(set(train) & set(evaluation))
        if shared:
            raise ValueError(f"photographs for evaluation must be held out of training, but both have {shared}")
        if not train or not evaluation or not blocks or min(blocks) < 1:
            raise ValueError(
                f"Photographs needs at least one photograph in each stock and blocks of at least 1 pixel, got "
                f"{len(train)} for training, {len(evaluation)} for evaluation, blocks {list(blocks)}"
            )
        self.stocks: dict[Split, list[Float32[np.ndarray, "3 _ _"]]] = {
            "train": [small for photo in train for small in shrunk(locate(photo), blocks)],
            "evaluation": [small for photo in evaluation for small in shrunk(locate(photo), blocks)],
        }

    @override
    def draw(self, height: int, width: int, split: Split, rng: np.random.Generator) -> Picture:
        stock = self.stocks[split]
        small = stock[rng.integers(len(stock))]
        rows, columns = small.shape[1] - height, small.shape[2] - width
        if rows < 0 or columns < 0:
            raise ValueError(
                f"a piece of {height}x{width} pixels does not fit into a photograph of {small.shape[1]}x"
                f"{small.shape[2]} pixels (after averaging blocks); ask for smaller pieces or use smaller blocks"
            )
        row, column = rng.integers(rows + 1), rng.integers(columns + 1)
        piece = small[rng.permutation(3), row : row + height, column : column + width]
        return torch.from_numpy((piece[:, :, ::-1] if rng.integers(2) else piece).copy())


def shrunk(file: Path, blocks: Sequence[int]) -> list[Float32[np.ndarray, "3 _ _"]]:
    """Read a photograph and average it over blocks of pixels, once for each side of a block.

    Grey ones become three equal channels. Rows and columns that do not fill a block are left out. Values are in
    [-1, 1].
    """
    with Image.open(file) as picture:
        pixels = np.ascontiguousarray(to_pixels(picture.convert("RGB")).permute(1, 2, 0).numpy())
    found: list[Float32[np.ndarray, "3 _ _"]] = []
    for block in blocks:
        height, width = (side // block * block for side in pixels.shape[:2])
        grid = pixels[:height, :width].reshape(height // block, block, width // block, block, 3)
        found.append(np.ascontiguousarray(grid.mean(axis=(1, 3)).transpose(2, 0, 1)))
    return found
