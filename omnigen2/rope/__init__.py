"""Rotary position embeddings over (instance, row, column), and the image-index embedding."""

from omnigen2.rope.image_index import ImageIndexEmbedding
from omnigen2.rope.positions import LuminaPositions, OmniPositions, Origin, PositionScheme, QwenPositions
from omnigen2.rope.rotary import RotaryEmbedding, Rotation, apply_rotation

__all__ = [
    "ImageIndexEmbedding", "LuminaPositions", "OmniPositions", "Origin", "PositionScheme", "QwenPositions",
    "RotaryEmbedding", "Rotation", "apply_rotation",
]  # fmt: skip
