"""Have two frames the same viewpoint? Colour histograms, block by block (P4, section 9.4.2).

Whole pictures' histograms do not see where things are, and pixels see every small change; a share of blocks that agree
sees a camera that moved, and lets a local change pass. The paper does not tell its colours; here each channel has four
levels with borders at the quartiles of the picture itself: so no light matters, and pale pictures have all of them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, UInt8

from omnigen2.errors import UserError

Pixels = UInt8[np.ndarray, "_ _ 3"]
Histograms = Float32[np.ndarray, "blocks colours"]
COLOURS = 64
MOST_BLOCKS = 16
"""Along a side, so that a block's number is a byte."""
QUARTILES = (0.25, 0.5, 0.75)
STRIP = 2**16
"""Pixels that are worked on at a time: more would be new memory for each picture, which costs more than the work."""
SAMPLE = 64
"""Quartiles are those of every nth pixel along each side, so that at least this many of a longer one are left."""


@dataclass(frozen=True)
class BlockHistograms:
    """How much of two pictures agrees.

    Attributes:
        blocks: Along each side of a picture.
        overlap: Blocks agree whose histograms have at least this share in common.

    Raises:
        UserError: If a number is out of range.
    """

    blocks: int = 16
    overlap: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.blocks <= MOST_BLOCKS or not 0 < self.overlap <= 1:
            raise UserError(
                f"BlockHistograms has {self.blocks} blocks and an overlap of {self.overlap}",
                f"give 1 to {MOST_BLOCKS} blocks, and an overlap in (0, 1]",
            )

    def of(self, picture: Pixels) -> Histograms:
        """The histograms of a picture's blocks, each summing to 1. One picture's serve all pairs that it is in.

        Raises:
            UserError: If the picture has fewer pixels along a side than there are blocks.
        """
        import cv2

        if min(picture.shape[:2]) < self.blocks:
            raise UserError(f"a picture of {picture.shape[:2]} pixels has no {self.blocks} blocks a side", "give fewer")
        numbers = _block_numbers(picture.shape[0], picture.shape[1], self.blocks)
        bins = [COLOURS, self.blocks**2]
        counts = cv2.calcHist([_codes(picture), numbers], [0, 1], None, bins, [0, bins[0], 0, bins[1]]).T
        return np.ascontiguousarray(counts / counts.sum(-1, keepdims=True), dtype=np.float32)

    def agreement(self, first: Histograms, second: Histograms) -> float:
        """The share of blocks that agree, in [0, 1]."""
        return float((np.minimum(first, second).sum(-1) >= self.overlap).mean())

    def __call__(self, first: Pixels, second: Pixels) -> float:
        """The share of blocks of two pictures that agree, in [0, 1]; their sizes may differ."""
        return self.agreement(self.of(first), self.of(second))


def _codes(picture: Pixels) -> UInt8[np.ndarray, "height width"]:
    """The quarters that red, green and blue are in, as one number below 64; in bytes, where the time goes."""
    import cv2

    step = max(1, min(picture.shape[:2]) // SAMPLE)
    sample = np.ascontiguousarray(picture[::step, ::step])
    tables: list[UInt8[np.ndarray, " levels"]] = []
    for place in range(3):
        counts = np.cumsum(cv2.calcHist([sample], [place], None, [256], [0, 256]))
        borders = np.searchsorted(counts, counts[-1] * np.array(QUARTILES))
        tables.append((np.searchsorted(borders, np.arange(256)) << (4 - 2 * place)).astype(np.uint8))
    codes = np.empty(picture.shape[:2], np.uint8)
    rows = max(1, STRIP // picture.shape[1])
    for top in range(0, len(codes), rows):
        strip = cv2.split(np.ascontiguousarray(picture[top : top + rows]))
        red, green, blue = (cv2.LUT(channel, table, dst=channel) for channel, table in zip(strip, tables, strict=True))
        cv2.bitwise_or(cv2.bitwise_or(red, green, dst=red), blue, dst=codes[top : top + rows])
    return codes


@lru_cache(maxsize=8)
def _block_numbers(height: int, width: int, blocks: int) -> UInt8[np.ndarray, "height width"]:
    """Which block each pixel is in; their sides differ by one pixel at most."""
    rows, columns = (np.arange(length) * blocks // length for length in (height, width))
    return (rows[:, None] * blocks + columns[None]).astype(np.uint8)
