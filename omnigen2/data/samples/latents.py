"""Latents that were computed before training, and the account of what made them."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.data.samples.errors import DataError
from omnigen2.data.samples.stored import StoredTensor
from omnigen2.pictures import ResizePolicy

LATENTS_FILE = "latents.json"
FORMAT = "omnigen2 latents 1"
LatentType: TypeAlias = Literal["float16", "float32"]
LATENT_TYPES: tuple[LatentType, ...] = get_args(LatentType)
Pixels: TypeAlias = Float[Tensor, "3 _ _"]
"""One image in [-1, 1], shape (3, height, width)."""
Moments: TypeAlias = Float[Tensor, "_ _ _ _"]
"""A codec's distribution of one latent, shape (1 or 2, channels, height, width): its mean and, where the codec has
one, its standard deviation."""


class LatentMismatch(DataError):
    """Stored latents are not those that a training needs. A fault of the settings, never of one sample."""


@dataclass(frozen=True)
class LatentOrigin:
    """What made latents: equal origins give equal latents, but for rounding.

    Attributes:
        codec: Kind, configuration and weights of the codec, as one line.
        resize: The sizes that images got.
        stored_as: How numbers are stored.
    """

    codec: str
    resize: ResizePolicy
    stored_as: LatentType

    def __str__(self) -> str:
        return f"{self.stored_as}, made by {self.codec}, of images resized by {self.resize}"

    def check_resize(self, resize: ResizePolicy, where: str) -> None:
        """Refuse another resize policy.

        Args:
            resize: The training's.
            where: Names the data in the message.

        Raises:
            LatentMismatch: If images get other sizes now than they had when they were encoded.
        """
        if resize != self.resize:
            raise LatentMismatch(
                f"the latents of {where} are of images resized by {self.resize}, but this training resizes by "
                f"{resize}\n  use the same, or set `precomputed: ignore` to encode anew, or write the chunks again"
            )

    def check_codec(self, codec: str, where: str) -> None:
        """Refuse another codec.

        Args:
            codec: The training's.
            where: Names the data in the message.

        Raises:
            LatentMismatch: If it is another kind, or has another configuration or other weights.
        """
        if codec != self.codec:
            raise LatentMismatch(
                f"the latents of {where} were made by {self.codec}, but this training encodes with {codec}\n"
                "  train with the same codec, or set `precomputed: ignore` to encode anew, or write the chunks again"
            )

    def save(self, folder: Path) -> None:
        """Write the account.

        Args:
            folder: Holds the chunks.
        """
        content = {"format": FORMAT, **asdict(self)}
        (folder / LATENTS_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "LatentOrigin | None":
        """Read the account.

        Args:
            folder: Holds the chunks.

        Returns:
            What was saved; None if the chunks have no latents.

        Raises:
            DataError: If the file is damaged or of another format.
        """
        file = folder / LATENTS_FILE
        if not file.is_file():
            return None
        try:
            content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if content["format"] != FORMAT or content["stored_as"] not in LATENT_TYPES:
                raise DataError(
                    f"{file} has format {content['format']!r} with numbers as {content['stored_as']!r}, expected "
                    f"{FORMAT!r} with {' or '.join(LATENT_TYPES)}; write the chunks again"
                )
            resize = dict(content["resize"])
            resize["reference_pixels"] = tuple(resize["reference_pixels"])
            return cls(str(content["codec"]), ResizePolicy(**resize), content["stored_as"])
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise DataError(f"{file} is damaged ({error!r}); copy it anew or write the chunks again") from error


@dataclass(frozen=True, slots=True)
class SampleLatents:
    """Latents of all images of a sample.

    Attributes:
        images: The moments of the references, then of the target: the order of `Sample.images`.
        origin: What made them.

    Raises:
        DataError: If one has not the shape (1 or 2, channels, height, width).
    """

    images: tuple[StoredTensor, ...]
    origin: LatentOrigin

    def __post_init__(self) -> None:
        for latent in self.images:
            if len(latent.shape) != 4 or latent.shape[0] not in (1, 2):
                raise DataError(
                    f"a latent has shape {latent.shape}, expected (1 or 2 moments, channels, height, width); write the "
                    "chunks again"
                )


@dataclass(frozen=True)
class ExampleLatents:
    """Latents of an example that were computed before.

    Attributes:
        references: As many as the example has references.
        target: Of the target.
        origin: What made them.
    """

    references: tuple[Moments, ...]
    target: Moments
    origin: LatentOrigin

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "ExampleLatents":
        """The latents on a device.

        Args:
            device: Where to.
            non_blocking: Do not wait for the copy.

        Returns:
            Others.
        """
        references = tuple(latent.to(device, non_blocking=non_blocking) for latent in self.references)
        return ExampleLatents(references, self.target.to(device, non_blocking=non_blocking), self.origin)


class ImageEncoder(ABC):
    """Computes latents for `optimize`.

    Attributes:
        origin: What it makes them of, and how.
    """

    origin: LatentOrigin

    @abstractmethod
    def moments(self, images: Sequence[Pixels]) -> list[Moments]:
        """Encode images; called from several threads.

        Args:
            images: In [-1, 1], resized by `origin.resize`.

        Returns:
            One per image.
        """

    def of(self, images: Sequence[Pixels]) -> SampleLatents:
        """Encode the images of a sample.

        Args:
            images: References, then the target.

        Returns:
            As it is stored.
        """
        stored = (StoredTensor.of(moments, self.origin.stored_as) for moments in self.moments(images))
        return SampleLatents(tuple(stored), self.origin)
