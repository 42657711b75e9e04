"""From requests as people write them to requests with read references, a size and a seed."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from omnigen2.generate.errors import GenerateError
from omnigen2.generate.folder import ModelFolder
from omnigen2.generate.memory import codec_size, transformer_config
from omnigen2.generate.request import Request
from omnigen2.pictures import ImageReader, ResizePolicy

DEFAULT_SIDE = 1024
"""Side of a picture without a given size, and most pixels per side of a reference."""


@dataclass(frozen=True)
class Plan:
    """A request that can be drawn.

    Attributes:
        request: With its size and seed.
        references: RGB images of the sizes in which they are encoded.
        size: (height, width) in pixels.
    """

    request: Request
    references: tuple[Image.Image, ...]
    size: tuple[int, int]
    seed: int

    def noise(self, channels: int, reduction: int) -> Float[Tensor, "channels _ _"]:
        """The noise that the picture starts from, drawn on the host from its own seed.

        Returns:
            Shape (channels, height / reduction, width / reduction), in latent pixels.
        """
        shape = (channels, *(side // reduction for side in self.size))
        return torch.randn(shape, generator=torch.Generator().manual_seed(self.seed))


class Planner:
    """Checks requests against what a model can do.

    Args:
        multiple: What both sides of a picture must be multiples of, in pixels.
        max_references: Most references per picture; 0 for no limit.
    """

    def __init__(self, multiple: int, max_references: int) -> None:
        self.multiple = multiple
        self.max_references = max_references
        self.reader = ImageReader()
        self.policy = ResizePolicy(max_side=DEFAULT_SIDE, multiple=multiple, reference_pixels=(DEFAULT_SIDE**2,))

    def check(self, request: Request) -> None:
        """Refuse what the model cannot do, without opening a file.

        Raises:
            GenerateError: If there are too many references, or a side is no multiple.
        """
        given = len(request.images)
        if self.max_references and given > self.max_references:
            raise GenerateError(
                f"got {given} reference images, the model knows at most {self.max_references}", "leave some out"
            )
        for name, side in (("height", request.height), ("width", request.width)):
            if side is not None and (side < self.multiple or side % self.multiple):
                below = max(side // self.multiple, 1) * self.multiple
                raise GenerateError(
                    f"{name} must be a positive multiple of {self.multiple}, got {side}",
                    f"use {below} or {below + self.multiple}",
                )

    def __call__(self, request: Request) -> Plan:
        """Check a request, read its references and decide what is left open."""
        self.check(request)
        read = [
            self.reader.to_rgb(image)
            if isinstance(image, Image.Image)
            else self.reader.read(image, f"number {number}" if isinstance(image, bytes) else None)
            for number, image in enumerate(request.images, start=1)
        ]
        references = tuple(self.policy.resize_references(read))
        height, width = self._size(request, references)
        seed = secrets.randbelow(2**31) if request.seed is None else request.seed
        settled = replace(request, height=height, width=width, seed=seed)
        return Plan(settled, references, (height, width), seed)

    def _size(self, request: Request, references: Sequence[Image.Image]) -> tuple[int, int]:
        if request.height is not None and request.width is not None:
            return request.height, request.width
        return (references[0].height, references[0].width) if len(references) == 1 else (DEFAULT_SIDE, DEFAULT_SIDE)


def planner_of(folder: ModelFolder) -> Planner:
    """What a model can do, from its configurations alone: checks requests before anything is loaded."""
    config = transformer_config(folder)
    return Planner(codec_size(folder).reduction * config.patch_size, config.max_references)
