"""Latent images to patch tokens and back."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from omnigen2.layout import ImageRole, ImageSegment


def patchify(latent: Float[Tensor, "channels height width"], patch_size: int) -> Float[Tensor, "tokens patch_channels"]:
    """Cut a latent image into square patches, row by row; inside a patch the channels vary fastest.

    Sides are in latent pixels; there are height * width / patch_size^2 tokens of patch_size^2 * channels each.

    Raises:
        ValueError: If a side is not a multiple of the patch size.
    """
    segment(latent, patch_size, "target")
    return rearrange(latent, "c (h p) (w q) -> (h w) (p q c)", p=patch_size, q=patch_size)


def unpatchify(
    patches: Float[Tensor, "tokens patch_channels"], image: ImageSegment, patch_size: int
) -> Float[Tensor, "channels height width"]:
    """Put the patches of an image together again: the inverse of `patchify`.

    Raises:
        ValueError: If the number of tokens is not the image's.
    """
    if patches.shape[0] != image.tokens:
        raise ValueError(
            f"unpatchify got {patches.shape[0]} tokens for an image of {image.height}x{image.width} = {image.tokens}"
        )
    return rearrange(
        patches, "(h w) (p q c) -> c (h p) (w q)", h=image.height, w=image.width, p=patch_size, q=patch_size
    )


def segment(latent: Float[Tensor, "channels height width"], patch_size: int, role: ImageRole) -> ImageSegment:
    """The segment, sized in tokens, that a latent image becomes in a `Layout`.

    Raises:
        ValueError: If a side is not a multiple of the patch size.
    """
    height, width = latent.shape[1:]
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"latent of height {height} and width {width} cannot be cut into patches of {patch_size}; "
            f"both must be multiples of {patch_size}, resize or crop the image first"
        )
    return ImageSegment(height // patch_size, width // patch_size, role)
