"""What steps ask of models: to find things, to follow them, to fill parts of pictures, to tell pictures apart.

Recipes name a model by class_path within the step that uses it, so that another takes its place without a new step. A
model holds settings alone, so that steps can be sent to other machines, and loads at its first use.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from omnigen2.curation.items import CurationError
from omnigen2.curation.step import Resources
from omnigen2.curation.video import Pixels

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""
Mask: TypeAlias = Bool[np.ndarray, "height width"]
AnySizes: TypeAlias = Sequence[Float[Tensor, "3 _ _"]]
"""Pictures as `omnigen2.pictures` has them, each of its own size."""


@dataclass(frozen=True, slots=True)
class Found:
    """A thing in a picture.

    Attributes:
        name: One of those that were asked for.
        score: How sure the detector is, in [0, 1].
    """

    name: str
    box: Box
    score: float


class Model:
    """Settings of a model.

    Attributes:
        device: Where it is loaded; the step that holds it says so, by what it reserves.
    """

    device: Literal["cpu", "cuda"] = "cpu"

    @property
    def name(self) -> str:
        """What examples say that they were made with."""
        return type(self).__name__

    def check(self) -> None:
        """Find out before the first clip whether it can work here.

        Raises:
            CurationError: If it cannot: a folder or a package is missing.
        """
        return


Held = TypeVar("Held", bound=Model)


def placed(model: Held, resources: Resources) -> Held:
    """A model, told to load on a GPU if the step that holds it reserves one."""
    model.device = "cuda" if resources.gpus else "cpu"
    return model


class Detector(Model, ABC):
    """Finds things by their names."""

    @abstractmethod
    def find(self, picture: Pixels, names: Sequence[str]) -> Sequence[Found]:
        """Any number of boxes for each name, in any order; every one carries the name as it was given."""


class Tracker(Model, ABC):
    """Follows things from frame to frame."""

    @abstractmethod
    def track(
        self, frames: Iterable[Pixels], boxes: Sequence[Box]
    ) -> Iterator[Bool[np.ndarray, "subjects height width"]]:
        """Where each subject is, frame after frame.

        Args:
            frames: Of one size and one scene, in the order of their times; they are asked for one at a time.
            boxes: One for each subject, in the first frame.

        Yields:
            The masks of one frame, as many times as there are frames: all False for a subject that is not seen.
        """


class Filler(Model, ABC):
    """Paints what is masked, so that it goes with the rest."""

    def fill(self, picture: Pixels, mask: Bool[np.ndarray, "rows columns"], prompt: str = "", seed: int = 0) -> Pixels:
        """The picture with new pixels where the mask is True, and every other pixel as it was.

        Args:
            prompt: What is to be there; empty if the rest of the picture decides.

        Raises:
            CurationError: If mask and picture are not of one size.
        """
        if mask.shape != picture.shape[:2]:
            raise CurationError(f"a mask of {mask.shape} for a picture of {picture.shape[:2]}", "give one of its size")
        if not mask.any():
            return picture.copy()
        painted = self._filled(picture, mask, prompt, seed)
        if painted.shape != picture.shape:
            raise CurationError(
                f"{type(self).__name__} gave {painted.shape} for a picture of {picture.shape}", "keep its size"
            )
        return np.where(mask[..., None], painted, picture)

    @abstractmethod
    def _filled(self, picture: Pixels, mask: Mask, prompt: str, seed: int) -> Pixels:
        """Of the same size and for one seed always the same; where the mask is False anything will do."""


class Embedder(Model, ABC):
    """Pictures to vectors whose angle tells how alike they are: an `Embed` of `omnigen2.curation.pairs`."""

    @abstractmethod
    def __call__(self, pictures: AnySizes) -> Float[Tensor, "pictures features"]:
        """One vector for each picture."""
