"""Where the small pictures of the toy task come from."""

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

import numpy as np
import torch
from typing_extensions import override

from omnigen2.pictures import Picture

Split: TypeAlias = Literal["train", "evaluation"]


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
