"""Image files to pixels and back, the sizes they get, and contact sheets. Needs torch, numpy and Pillow only."""

from omnigen2.pictures.files import AnimatedImages, ImageFileError, ImageReader
from omnigen2.pictures.pixels import Picture, to_image, to_levels, to_pixels
from omnigen2.pictures.png import data_url, from_base64, from_png, shrink, to_base64, to_png
from omnigen2.pictures.policy import ResizePolicy
from omnigen2.pictures.sheet import Panel, Section, contact_sheet, sheet_png, show_pixels
from omnigen2.pictures.told import FORMATS, read_told, save_told

__all__ = [
    "FORMATS", "AnimatedImages", "ImageFileError", "ImageReader", "Panel", "Picture", "ResizePolicy", "Section",
    "contact_sheet", "data_url", "from_base64", "from_png", "read_told", "save_told", "sheet_png", "show_pixels",
    "shrink", "to_base64", "to_image", "to_levels", "to_pixels", "to_png",
]  # fmt: skip
