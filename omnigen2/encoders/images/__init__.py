"""Image files to pixels, and the sizes they get. Needs torch, numpy and Pillow only."""

from omnigen2.encoders.images.files import AnimatedImages, ImageFileError, ImageReader
from omnigen2.encoders.images.pixels import to_image, to_pixels
from omnigen2.encoders.images.policy import ResizePolicy

__all__ = ["AnimatedImages", "ImageFileError", "ImageReader", "ResizePolicy", "to_image", "to_pixels"]
