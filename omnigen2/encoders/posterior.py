"""A codec's distribution of latents, kept and drawn from later, and the identity of the codec that made it."""

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.encoders.codec import Latent, LatentCodec, Pixels, check_sides
from omnigen2.encoders.dct import BlockDCT
from omnigen2.encoders.fingerprint import fingerprint
from omnigen2.encoders.vae import FluxVAE

Moments: TypeAlias = Float[Tensor, "_ _ _ _"]
"""Shape (1 or 2, channels, height, width): the mean of a scaled latent and, where the codec has one, its standard
deviation."""


@torch.no_grad()
def moments(codec: LatentCodec, images: Sequence[Pixels]) -> list[Moments]:
    """What a codec's latents are drawn from: `draw(moments)` is what `codec.encode` gives.

    Args:
        codec: A `FluxVAE` or a `BlockDCT`.
        images: Each of shape (3, height, width) in [-1, 1], sides as the codec wants them.

    Returns:
        float32 on the codec's device, one per image; worked on one by one.

    Raises:
        ValueError: If a side is no such multiple, or the codec is of another kind.
    """
    match codec:
        case FluxVAE():
            check_sides(images, codec.multiple, "reduction times patch size")
            return [_of_vae(codec, image) for image in images]
        case BlockDCT():
            return [mean[None] for mean in codec.encode(images, "mode")]
        case _:
            raise ValueError(f"a {type(codec).__name__} has no known distribution; use a FluxVAE or a BlockDCT")


def draw(moments: Moments, generator: torch.Generator | None) -> Latent:
    """A latent from its distribution.

    Args:
        moments: Of any float type.
        generator: Draws, where it lives; the mean is taken if None. A codec without a spread draws nothing.

    Returns:
        float32, shape (channels, height, width), on the device of the moments.
    """
    mean, *spread = moments.float()
    if generator is None or not spread:
        return mean
    noise = torch.randn(mean.shape, generator=generator, device=generator.device)
    return mean + spread[0] * noise.to(mean)


def identity(codec: LatentCodec) -> str:
    """One line that is the same for codecs that make the same latents, and for no others.

    Args:
        codec: A `FluxVAE` or a `BlockDCT`.

    Returns:
        Kind, and the sha256 of its configuration and of the names, types, shapes and values of its weights.

    Raises:
        ValueError: If the codec is of another kind.
    """
    match codec:
        case FluxVAE():
            config: dict[str, Any] = dict(cast(Any, codec.vae).config)
            tile = cast(Any, codec.vae).tile_sample_min_size if codec.memory == "tiled" else None
            facts = {name: value for name, value in config.items() if not name.startswith("_")} | {"tile": tile}
        case BlockDCT():
            facts = {"factor": codec.reduction, "scale": codec.scale}
        case _:
            raise ValueError(f"a {type(codec).__name__} has no known identity; use a FluxVAE or a BlockDCT")
    return f"{type(codec).__name__} {fingerprint(facts, codec)}"


def _of_vae(codec: FluxVAE, image: Pixels) -> Moments:
    """Mean and standard deviation of `(z - shift) * scale`."""
    weight = next(codec.vae.parameters())
    distribution: Any = cast(Any, codec.vae).encode(image[None].to(weight)).latent_dist
    return torch.stack((codec.scaled(distribution.mean[0]), distribution.std[0].float() * codec.scale))
