r"""Where tokens stand: position schemes that map a `Layout` to (instance, row, column) ids.

Every scheme puts text token i at (i, i, i), so that text alone sees ordinary one-dimensional RoPE, and every token
of an image of h x w tokens at (instance, row_0 + r, column_0 + c) with r < h and c < w. The schemes differ in the
origin (instance, row_0, column_0) of each image. With L text tokens, the paper (arXiv:2506.18871, Table 1) compares

| scheme | origin of image k |
|---|---|
| `LuminaPositions` | (0, sum of the heights before k, sum of the widths before k) |
| `QwenPositions` | (d, d, d) with d = L + sum of max(height, width) before k |
| `OmniPositions` | (d, 0, 0) with the same d |
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, assert_never

import torch
from typing_extensions import override

from omnigen2.errors import check_choice
from omnigen2.layout import ImageSegment, Layout, PositionIds, TextSegment

InstanceAdvance = Literal["extent", "consecutive"]
TargetPlace = Literal["last", "first"]


class Origin(NamedTuple):
    """Ids of an image's first token."""

    instance: int
    row: int
    column: int


class PositionScheme(ABC):
    """Maps a layout to position ids. Subclasses say where each image of a sample begins."""

    @abstractmethod
    def origins(self, text_length: int, images: Sequence[ImageSegment]) -> list[Origin]:
        """The origin of each image of one sample.

        Args:
            text_length: Number of text tokens in front of the images, 0 without text.
            images: The sample's images in packed order: references, then the target.
        """

    def __call__(self, layout: Layout) -> PositionIds:
        """Position ids of every packed token, int64 on the CPU."""
        origins: list[Origin] = []
        widths: list[int] = []
        for sample in layout.batch:
            text_length = sum(segment.length for segment in sample if isinstance(segment, TextSegment))
            images = [segment for segment in sample if isinstance(segment, ImageSegment)]
            if text_length:
                origins.append(Origin(0, 0, 0))
                widths.append(0)
            origins.extend(self.origins(text_length, images))
            widths.extend(image.width for image in images)
        borders = layout.segments()
        owner = borders.owners()
        local = torch.arange(borders.total) - torch.tensor(borders.offsets)[owner]
        width = torch.tensor(widths)[owner]
        grid = torch.stack((torch.zeros_like(local), local // width.clamp(min=1), local % width.clamp(min=1)), dim=1)
        steps = torch.where(width[:, None] == 0, local[:, None], grid)
        return torch.tensor(origins)[owner] + steps


@dataclass(frozen=True)
class OmniPositions(PositionScheme):
    """Omni-RoPE: every image has its own instance id and starts at row 0 and column 0.

    A reference and the target thus share (row, column) wherever they show the same place, which is what editing
    needs, and are told apart by the instance id alone.

    The defaults are the paper's and the released model's. The two alternatives are ours: instance ids that grow by
    the size of each image reach values never trained as soon as images are larger than in training; consecutive
    ids do not.

    Attributes:
        advance: How the instance id grows from one image to the next: by `max(height, width)` (`"extent"`, the
            paper's) or by 1 (`"consecutive"`).
        target: Whether the target takes the instance id after all references (`"last"`, the paper's) or the one
            before them (`"first"`). The order of the packed tokens stays the same.

    Source: arXiv:2506.18871, section on Omni-RoPE and Table 1.
    """

    advance: InstanceAdvance = "extent"
    target: TargetPlace = "last"

    def __post_init__(self) -> None:
        check_choice("advance of OmniPositions", self.advance, InstanceAdvance)
        check_choice("target of OmniPositions", self.target, TargetPlace)

    @override
    def origins(self, text_length: int, images: Sequence[ImageSegment]) -> list[Origin]:
        instance = text_length
        found: dict[int, Origin] = {}
        for number in self._visiting_order(images):
            found[number] = Origin(instance, 0, 0)
            instance += self._step(images[number])
        return [found[number] for number in range(len(images))]

    def _visiting_order(self, images: Sequence[ImageSegment]) -> list[int]:
        match self.target:
            case "last":
                return list(range(len(images)))
            case "first":
                return sorted(range(len(images)), key=lambda number: images[number].role != "target")
            case _:
                assert_never(self.target)

    def _step(self, image: ImageSegment) -> int:
        match self.advance:
            case "extent":
                return max(image.height, image.width)
            case "consecutive":
                return 1
            case _:
                assert_never(self.advance)


@dataclass(frozen=True)
class QwenPositions(PositionScheme):
    """Qwen2-VL's M-RoPE: every image starts on the diagonal behind everything before it.

    Source: arXiv:2409.12191 (M-RoPE), in the form of arXiv:2506.18871, Table 1.
    """

    @override
    def origins(self, text_length: int, images: Sequence[ImageSegment]) -> list[Origin]:
        start = text_length
        found: list[Origin] = []
        for image in images:
            found.append(Origin(start, start, start))
            start += max(image.height, image.width)
        return found


@dataclass(frozen=True)
class LuminaPositions(PositionScheme):
    """Lumina-Image-2.0's scheme for several images: one instance, images along the diagonal of one large canvas.

    The instance id of every image token is 0, as printed in Table 1 of arXiv:2506.18871. Lumina-Image-2.0 itself
    (arXiv:2503.21758) has a single image and puts the text's length there.
    """

    @override
    def origins(self, text_length: int, images: Sequence[ImageSegment]) -> list[Origin]:
        del text_length
        row = column = 0
        found: list[Origin] = []
        for image in images:
            found.append(Origin(0, row, column))
            row += image.height
            column += image.width
        return found
