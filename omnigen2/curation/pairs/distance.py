"""How different two frames are, so that pairs that are nearly equal or have little in common can be dropped."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from omnigen2.curation.pairs.viewpoint import Pixels
from omnigen2.errors import UserError
from omnigen2.pictures import Picture, to_pixels

Embed: TypeAlias = Callable[[Sequence[Picture]], Float[Tensor, "pictures features"]]
"""Pictures to feature vectors."""


class Distance(Protocol):
    """A measure of pairs of pictures: 0 is equal, and more is more different."""

    def __call__(self, pairs: Sequence[tuple[Pixels, Pixels]]) -> list[float]:
        """One number for each pair."""
        ...


class EmbeddingDistance:
    """1 - the cosine of two pictures' features, in [0, 2], by DINOv2 or CLIP; each picture is embedded once.

    P4, section 9.4.2, takes both.

    Args:
        embed: Such as `DinoImages(folder)` or `Clip(folder).images` of `omnigen2.evaluation.metrics`.
        batch: Pictures at a time.

    Raises:
        UserError: If the batch is not positive.
    """

    def __init__(self, embed: Embed, batch: int = 16) -> None:
        if batch < 1:
            raise UserError(f"EmbeddingDistance got a batch of {batch}", "give at least 1")
        self.embed, self.batch = embed, batch

    def __call__(self, pairs: Sequence[tuple[Pixels, Pixels]]) -> list[float]:
        """One number for each pair.

        Raises:
            UserError: If a picture's features have no direction: zero, or not finite.
        """
        pictures = {id(picture): picture for pair in pairs for picture in pair}
        places = {key: place for place, key in enumerate(pictures)}
        shown = [to_pixels(Image.fromarray(picture)) for picture in pictures.values()]
        if not shown:
            return []
        batches = [self.embed(shown[start : start + self.batch]) for start in range(0, len(shown), self.batch)]
        features = torch.cat([one.detach().cpu().double() for one in batches])
        lengths = features.norm(dim=-1, keepdim=True)
        if not (lengths.isfinite() & (lengths > 0)).all():
            raise UserError("a picture's features are zero or not finite", "are the model's weights whole?")
        features = features / lengths
        return [
            float(1 - (features[places[id(first)]] @ features[places[id(second)]]).clamp(-1, 1))
            for first, second in pairs
        ]


class PixelDistance:
    """The mean difference of two pictures' colours, in [0, 1], after both were shrunk: no model, and no meaning.

    Args:
        side: Of the pictures that are compared, in pixels.
    """

    def __init__(self, side: int = 64) -> None:
        self.side = side

    def __call__(self, pairs: Sequence[tuple[Pixels, Pixels]]) -> list[float]:
        """One number for each pair."""
        return [float(np.abs(self._small(first) - self._small(second)).mean()) for first, second in pairs]

    def _small(self, picture: Pixels) -> Float[np.ndarray, "side side 3"]:
        import cv2

        return cv2.resize(picture, (self.side, self.side), interpolation=cv2.INTER_AREA) / 255.0
