"""The FLUX autoencoder: pixels to scaled latents and back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from omnigen2.encoders.codec import CodecSize, Latent, LatentCodec, Moments, Pixels, Posterior
from omnigen2.encoders.configs import check_vae_config
from omnigen2.encoders.dct import CLASS_NAME, BlockDCT
from omnigen2.encoders.folder import check_dtype, check_folder
from omnigen2.errors import check_choice
from omnigen2.files import WeightsError, load_pretrained, read_object

STEM = "diffusion_pytorch_model"
"""How the names of diffusers' weights begin."""
VAEMemory: TypeAlias = Literal["together", "one_by_one", "tiled"]


class FluxVAE(LatentCodec):
    """A frozen autoencoder with the shift and scale of its config.

    `latent = (z - shift) * scale`, so that latents have about zero mean and unit variance (FLUX: shift 0.1159,
    scale 0.3611). Images may have different sizes and are never padded. Latents and pixels are float32 whatever the
    model's dtype.

    Args:
        vae: A diffusers `AutoencoderKL`.
        memory: How many pixels are worked on at once. `"together"`: all images of one size; `"one_by_one"`: one
            image, whose result then cannot depend on the batch it is in; `"tiled"`: one image in overlapping tiles
            whose seams are blended, for images that are too large otherwise (an approximation: the tiles do not
            see one another).
        patch_size: Side of the transformer's patches in latent pixels; image sides must be multiples of this times
            the autoencoder's reduction.
        tile_size: Side of a tile in pixels, a multiple of four times the reduction (a quarter of a tile overlaps).

    Raises:
        ValueError: If the config lacks shift or scale, or the tile size is no such multiple.

    Source: arXiv:2112.10752 (the autoencoder); the constants are those of FLUX.1's configuration.
    """

    def __init__(
        self, vae: nn.Module, memory: VAEMemory = "one_by_one", patch_size: int = 2, tile_size: int = 512
    ) -> None:
        super().__init__()
        check_choice("memory of FluxVAE", memory, VAEMemory)
        config: Any = cast(Any, vae).config
        if config.scaling_factor is None or config.shift_factor is None:
            raise ValueError(
                f"the VAE has scaling_factor {config.scaling_factor} and shift_factor {config.shift_factor}; "
                "expected two numbers in its config.json (FLUX: 0.3611 and 0.1159)"
            )
        self.vae = vae.requires_grad_(False)
        self.scale: float = config.scaling_factor
        self.shift: float = config.shift_factor
        self.channels: int = config.latent_channels
        self.reduction = 2 ** (len(config.block_out_channels) - 1)
        self.multiple = self.reduction * patch_size
        self.memory: VAEMemory = memory
        if memory == "tiled":
            if tile_size < 1 or tile_size % (4 * self.reduction):
                raise ValueError(f"tile_size must be a multiple of {4 * self.reduction} pixels, got {tile_size}")
            tiler = cast(Any, vae)
            tiler.enable_tiling()
            tiler.tile_sample_min_size = tile_size
            tiler.tile_latent_min_size = tile_size // self.reduction
        self.eval()

    @classmethod
    def from_folder(
        cls,
        vae_dir: str | Path,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        memory: VAEMemory = "one_by_one",
    ) -> "FluxVAE":
        """Load a folder written by diffusers, such as `vae/` of the released model; nothing is downloaded.

        Raises:
            FileNotFoundError: If the folder or its config is missing.
            ValueError: If the dtype is not supported, or the weights cannot be loaded.
        """
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        check_dtype(dtype, "the VAE")
        check_folder(vae_dir, "config.json")
        check_vae_config(Path(vae_dir))
        vae = load_pretrained(AutoencoderKL, vae_dir, stem=STEM, torch_dtype=dtype, low_cpu_mem_usage=False)
        return cls(vae, memory).to(device)

    def scaled(self, z: Tensor) -> Tensor:
        """`(z - shift) * scale` in float32: what the transformer learns of what the autoencoder makes."""
        return (z.float() - self.shift) * self.scale

    def unscaled(self, latent: Tensor) -> Tensor:
        """`latent / scale + shift` in float32: the inverse of `scaled`."""
        return latent.float() / self.scale + self.shift

    @override
    @torch.no_grad()
    def encode(
        self,
        images: Sequence[Pixels],
        posterior: Posterior = "sample",
        generators: Sequence[torch.Generator] | None = None,
    ) -> list[Latent]:
        self.check_sides(images, f"reduction {self.reduction} times patch size")
        if generators is not None and len(generators) != len(images):
            raise ValueError(f"got {len(images)} images and {len(generators)} generators; give one per image")
        draws = [None] * len(images) if generators is None else generators
        latents: dict[int, Latent] = {}
        for group in self._groups(images):
            distribution = self._distribution([images[i] for i in group])
            match posterior:
                case "sample":
                    noise = [self._noise(distribution.mean[0], draws[i]) for i in group]
                    z = distribution.mean + distribution.std * torch.stack(noise)
                case "mode":
                    z = distribution.mode()
                case _:
                    assert_never(posterior)
            latents |= zip(group, self.scaled(z), strict=True)
        return [latents[i] for i in range(len(images))]

    @override
    def decode(self, latents: Sequence[Latent]) -> list[Pixels]:
        self.check_channels(latents)
        images: dict[int, Pixels] = {}
        for group in self._groups(latents):
            z = torch.stack([self.unscaled(latents[i]).to(self._weight) for i in group])
            images |= zip(group, cast(Any, self.vae).decode(z).sample.float().clamp(-1, 1), strict=True)
        return [images[i] for i in range(len(latents))]

    @override
    @torch.no_grad()
    def moments(self, images: Sequence[Pixels]) -> list[Moments]:
        self.check_sides(images, f"reduction {self.reduction} times patch size")
        found: list[Moments] = []
        for image in images:
            distribution = self._distribution([image])
            found.append(torch.stack((self.scaled(distribution.mean[0]), distribution.std[0].float() * self.scale)))
        return found

    @override
    def facts(self) -> Mapping[str, Any]:
        config: dict[str, Any] = dict(cast(Any, self.vae).config)
        tile = cast(Any, self.vae).tile_sample_min_size if self.memory == "tiled" else None
        return {name: value for name, value in config.items() if not name.startswith("_")} | {"tile": tile}

    @override
    def save(self, directory: str | Path) -> None:
        cast(Any, self.vae).save_pretrained(str(directory))

    @override
    @staticmethod
    def size(config: Mapping[str, Any]) -> CodecSize:
        channels: object = config.get("block_out_channels")
        if not isinstance(channels, list) or not channels:
            raise ValueError("it has no block_out_channels")
        return CodecSize(2 ** (len(channels) - 1), widest=channels[:2][-1], weights=True)

    def _distribution(self, images: Sequence[Pixels]) -> Any:
        """What diffusers' encoder says about images of one size."""
        pixels = torch.stack([image.to(self._weight) for image in images])
        return cast(Any, self.vae).encode(pixels).latent_dist

    @property
    def _weight(self) -> Tensor:
        """A parameter, for its dtype and device."""
        return next(self.vae.parameters())

    def _groups(self, images: Sequence[Tensor]) -> list[list[int]]:
        """Numbers of the images that go through the model together."""
        if self.memory != "together":
            return [[number] for number in range(len(images))]
        groups: dict[torch.Size, list[int]] = {}
        for number, image in enumerate(images):
            groups.setdefault(image.shape, []).append(number)
        return list(groups.values())

    def _noise(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Standard normal noise, drawn in float32 where the generator lives."""
        device = like.device if generator is None else generator.device
        return torch.randn(like.shape, generator=generator, device=device).to(like)


def codec_class(config: Mapping[str, Any]) -> type[BlockDCT] | type[FluxVAE]:
    """Which codec a config.json in `vae/` is of."""
    return BlockDCT if config.get("_class_name") == CLASS_NAME else FluxVAE


def load_codec(
    directory: str | Path,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    memory: VAEMemory = "one_by_one",
) -> LatentCodec:
    """Load whichever codec a folder such as `vae/` holds; `dtype` and `memory` are those of an autoencoder.

    Raises:
        FileNotFoundError: If the folder or its config is missing.
    """
    check_folder(directory, "config.json")
    kind = codec_class(read_object(Path(directory) / "config.json", WeightsError).values)
    return kind.from_folder(directory, dtype, device, memory)
