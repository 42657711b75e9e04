"""What recipes of `omnigen2.curation` name to work on drawn videos: the world's own words, and the truth in reports."""

from omnigen2.microworld.curated.truth import EditTruth
from omnigen2.microworld.curated.words import MicroWords

__all__ = ["EditTruth", "MicroWords"]
