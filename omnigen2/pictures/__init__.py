"""Image files to pixels, and the sizes they get. Needs torch, numpy and Pillow only."""

from omnigen2.pictures.files import AnimatedImages, ImageFileError, ImageReader
from omnigen2.pictures.pixels import to_image, to_pixels
from omnigen2.pictures.png import data_url, from_base64, from_png, shrink, to_base64, to_png
from omnigen2.pictures.policy import ResizePolicy
from omnigen2.pictures.sheet import Panel, Section, contact_sheet

__all__ = [
    "AnimatedImages", "ImageFileError", "ImageReader", "Panel", "ResizePolicy", "Section", "contact_sheet", "data_url",
    "from_base64", "from_png", "shrink", "to_base64", "to_image", "to_pixels", "to_png",
]  # fmt: skip
