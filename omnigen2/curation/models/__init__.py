"""Models that steps of a pipeline use: what is asked of them, and the real ones, from local folders."""

from omnigen2.curation.models.dino import Dino
from omnigen2.curation.models.flux_fill import FluxFill
from omnigen2.curation.models.grounding_dino import GroundingDino
from omnigen2.curation.models.protocols import Box, Detector, Embedder, Filler, Found, Mask, Model, Tracker, placed
from omnigen2.curation.models.sam2_video import Sam2Video

__all__ = [
    "Box", "Detector", "Dino", "Embedder", "Filler", "FluxFill", "Found", "GroundingDino", "Mask", "Model", "Sam2Video",
    "Tracker", "placed",
]  # fmt: skip
