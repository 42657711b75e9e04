"""Pairs of frames: which are looked at, whether the viewpoint is one, how different they are, what is there twice.

Everything works on plain pictures; OpenCV (histograms) and imagehash (duplicates) are of the extra `curation`.
"""

from omnigen2.curation.pairs.choice import GAPS, frame_pairs
from omnigen2.curation.pairs.distance import Distance, Embed, EmbeddingDistance, PixelDistance
from omnigen2.curation.pairs.duplicates import Duplicate, Hashes, hashes, near_duplicates
from omnigen2.curation.pairs.viewpoint import BlockHistograms, Histograms

__all__ = [
    "GAPS", "BlockHistograms", "Distance", "Duplicate", "Embed", "EmbeddingDistance", "Hashes", "Histograms",
    "PixelDistance", "frame_pairs", "hashes", "near_duplicates",
]  # fmt: skip
