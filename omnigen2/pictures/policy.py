"""Which size an image gets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image


@dataclass(frozen=True)
class ResizePolicy:
    """The one rule for image sizes: shrink to the limits, never enlarge, cut each side to a multiple.

    Each side becomes `floor(floor(side * ratio) / multiple) * multiple` with
    `ratio = min(sqrt(max_pixels / pixels), max_side / longer side, 1)`, and at least one multiple. The aspect ratio
    changes by less than one multiple per side; nothing is cropped.

    Attributes:
        max_pixels: Most pixels of a target, and of anything that is not a reference.
        max_side: Longest side in pixels, references included; no limit if None. The official training code uses 2048,
            the pipelines 1024 for references.
        multiple: What both sides are multiples of: the autoencoder's reduction times the transformer's patch size.
        reference_pixels: Most pixels of each reference when there are 1, 2, 3, … of them; the last holds for more.

    Raises:
        ValueError: If a limit does not leave room for one multiple.

    Source: the size rule of the released code, arXiv:2506.18871. Two differences: a side that the official rule cuts
    to 0 pixels becomes one multiple here (and is thereby enlarged if it was smaller), and more references than the
    list has limits use its last limit, where the official loader fails.

    Example:
        >>> ResizePolicy().size(1080, 1920)
        (768, 1360)
        >>> ResizePolicy().reference_size(1080, 1920, references=4)
        (384, 672)
    """

    max_pixels: int = 1024 * 1024
    max_side: int | None = 2048
    multiple: int = 16
    reference_pixels: tuple[int, ...] = (1024 * 1024, 1024 * 1024, 768 * 768, 512 * 512)

    def __post_init__(self) -> None:
        if self.multiple < 1:
            raise ValueError(f"multiple must be at least 1 pixel, got {self.multiple}")
        for pixels in (self.max_pixels, *self.reference_pixels):
            if pixels < self.multiple**2:
                raise ValueError(
                    f"a limit of {pixels} pixels leaves no room for one {self.multiple}x{self.multiple} patch; "
                    f"use at least {self.multiple**2}"
                )
        if self.max_side is not None and self.max_side < self.multiple:
            raise ValueError(f"max_side {self.max_side} is below the multiple {self.multiple}; use at least that")
        if not self.reference_pixels:
            raise ValueError("reference_pixels is empty; give at least one limit, such as (1048576,)")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels, multiples of `multiple`, of an image that is no reference.

        Raises:
            ValueError: If a side is below 1.
        """
        if height < 1 or width < 1:
            raise ValueError(f"an image needs at least 1x1 pixels, got height {height} and width {width}")
        ratio = min((self.max_pixels / (height * width)) ** 0.5, 1.0)
        if self.max_side is not None:
            ratio = min(ratio, self.max_side / max(height, width))

        step = self.multiple
        tall, wide = max(int(height * ratio) // step, 1) * step, max(int(width * ratio) // step, 1) * step
        # a side raised to one multiple may have pushed a very long image over the limit
        longest = self.max_pixels // step**2 * step
        return (min(tall, longest), wide) if wide == step else (tall, min(wide, longest))

    def reference_size(self, height: int, width: int, references: int) -> tuple[int, int]:
        """The same of a reference, where the sample has so many of them, this one included."""
        return self._for_references(references).size(height, width)

    def resize(self, image: Image.Image) -> Image.Image:
        """Give an RGB image its size, by Lanczos resampling; the same image if it has its size already."""
        height, width = self.size(image.height, image.width)
        if (image.width, image.height) == (width, height):
            return image
        return image.resize((width, height), Image.Resampling.LANCZOS)

    def resize_references(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        """Give all references of one sample, RGB images, their sizes."""
        return [self._for_references(len(images)).resize(image) for image in images]

    def _for_references(self, references: int) -> "ResizePolicy":
        if references < 1:
            raise ValueError(f"a sample with a reference has at least 1 of them, got references={references}")
        limits = self.reference_pixels
        return replace(self, max_pixels=limits[min(references, len(limits)) - 1])
