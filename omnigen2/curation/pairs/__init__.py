"""Pairs of frames: which are looked at, whether the viewpoint is one, how different they are, what is there twice.

Everything works on plain pictures; OpenCV (histograms) and imagehash (duplicates) are of the extra `curation`.
"""

from omnigen2.curation.pairs.choice import GAPS, frame_pairs
from omnigen2.curation.pairs.distance import Distance, Embed, EmbeddingDistance, PixelDistance
from omnigen2.curation.pairs.duplicates import (
    Duplicate,
    Hashes,
    HashIndex,
    hashes,
    hashes_of,
    near_duplicates,
    picture_hashes,
)
from omnigen2.curation.pairs.viewpoint import BlockHistograms, Histograms

__all__ = [
    "GAPS", "BlockHistograms", "Distance", "Duplicate", "Embed", "EmbeddingDistance", "HashIndex", "Hashes",
    "Histograms", "PixelDistance", "frame_pairs", "hashes", "hashes_of", "near_duplicates", "picture_hashes",
]  # fmt: skip
