"""The autoencoder: scale and unscale, sizes, memory."""

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.encoders import FluxVAE
from tests.encoders.conftest import parity


def images(*sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator) * 2 - 1 for size in sizes]


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=9))
def test_scale_and_unscale_are_inverse(vae: FluxVAE, values: list[float]) -> None:
    z = torch.tensor(values)
    torch.testing.assert_close(vae.unscaled(vae.scaled(z)), z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(vae.scaled(vae.unscaled(z)), z, rtol=1e-5, atol=1e-5)


def test_latents_are_shifted_then_scaled(vae: FluxVAE) -> None:
    assert "(sample of the VAE posterior - shift_factor) * scaling_factor" in parity("chat_template")["values"]["vae"]
    (image,) = images((32, 48))
    posterior = cast(Any, vae.vae).encode(image[None]).latent_dist
    (latent,) = vae.encode([image], "mode")
    torch.testing.assert_close(latent, (posterior.mean[0] - 0.1159) * 0.3611)
    decoded = cast(Any, vae.vae).decode(latent[None] / 0.3611 + 0.1159).sample[0]
    torch.testing.assert_close(vae.decode([latent])[0], decoded.clamp(-1, 1))


def test_a_sample_is_the_mean_plus_scaled_noise(vae: FluxVAE) -> None:
    (image,) = images((16, 16))
    posterior = cast(Any, vae.vae).encode(image[None]).latent_dist
    noise = torch.randn(16, 2, 2, generator=seeded(3)[0])
    (latent,) = vae.encode([image], generators=seeded(3))
    torch.testing.assert_close(latent, vae.scaled(posterior.mean[0] + posterior.std[0] * noise))
    assert not torch.equal(latent, vae.encode([image], "mode")[0])


@pytest.mark.parametrize("memory", ["together", "one_by_one", "tiled"])
def test_sizes_may_differ_and_keep_their_order(folder: Path, memory) -> None:
    vae = FluxVAE.from_folder(folder / "vae", memory=memory)
    batch = images((16, 32), (32, 16), (16, 32))
    latents = vae.encode(batch, generators=seeded(1, 2, 3))
    assert [tuple(latent.shape) for latent in latents] == [(16, 2, 4), (16, 4, 2), (16, 2, 4)]
    for image, latent, generator in zip(batch, latents, seeded(1, 2, 3), strict=True):
        torch.testing.assert_close(vae.encode([image], generators=[generator])[0], latent, rtol=1e-4, atol=1e-5)
    for image, latent, decoded in zip(batch, latents, vae.decode(latents), strict=True):
        assert decoded.shape == image.shape
        torch.testing.assert_close(vae.decode([latent])[0], decoded, rtol=1e-4, atol=1e-5)
    assert vae.encode([]) == vae.decode([]) == []
    if memory == "one_by_one":  # no result depends on the batch
        assert torch.equal(vae.encode(batch, "mode")[2], vae.encode(batch[2:], "mode")[0])


def test_tiles_are_used_for_large_images_only(folder: Path) -> None:
    whole = FluxVAE.from_folder(folder / "vae")
    tiled = FluxVAE(AutoencoderKL.from_pretrained(folder / "vae", low_cpu_mem_usage=False), "tiled", tile_size=64)
    small, large = (whole.encode(images(size), "mode") for size in ((64, 64), (128, 96)))
    assert torch.equal(whole.decode(small)[0], tiled.decode(small)[0])
    by_tiles = tiled.decode(large)[0]
    assert by_tiles.shape == (3, 128, 96)
    assert not torch.equal(whole.decode(large)[0], by_tiles)


def test_gradients_reach_latents_and_not_the_model(vae: FluxVAE) -> None:
    latent = torch.zeros(16, 2, 2, requires_grad=True)
    vae.decode([latent])[0].sum().backward()
    assert latent.grad is not None
    assert not any(parameter.requires_grad for parameter in vae.parameters())
    assert not vae.train().training


def test_latents_and_pixels_are_float32_whatever_the_model(folder: Path) -> None:
    vae = FluxVAE.from_folder(folder / "vae", dtype=torch.bfloat16)
    latents = vae.encode([image.double() for image in images((16, 16))])
    assert latents[0].dtype == vae.decode(latents)[0].dtype == torch.float32
    assert vae.decode([latents[0] * 1e3])[0].abs().max() <= 1
    with pytest.raises(ValueError, match=r"the VAE cannot run in torch.float16"):
        FluxVAE.from_folder(folder / "vae", dtype=torch.float16)


def test_wrong_calls(vae: FluxVAE, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="image 1 has height 16 and width 24 pixels; both must be multiples of 16"):
        vae.encode(images((16, 16), (16, 24)))
    with pytest.raises(ValueError, match="image 0 has height 0"):
        vae.encode([torch.zeros(3, 0, 16)])
    with pytest.raises(ValueError, match="1 images and 2 generators"):
        vae.encode(images((16, 16)), generators=seeded(1, 2))
    with pytest.raises(ValueError, match=r"latent 0 has shape \(4, 2, 2\); expected 16 channels"):
        vae.decode([torch.zeros(4, 2, 2)])
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        FluxVAE.from_folder(tmp_path / "none")
    broken = shutil.copytree(folder / "vae", tmp_path / "broken")
    (weights,) = broken.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"safetensors \(1000 bytes\) is not a whole safetensors file"):
        FluxVAE.from_folder(broken)
    config = json.loads((folder / "vae" / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"latent_channels": 8}))
    shutil.copy(folder / "vae" / weights.name, weights)
    with pytest.raises(ValueError, match=r"safetensors: decoder.conv_in.weight has shape \(8, 16, 3, 3\), but"):
        FluxVAE.from_folder(broken)
    with pytest.raises(ValueError, match="tile_size must be a multiple of 32 pixels, got 40"):
        FluxVAE(vae.vae, "tiled", tile_size=40)
    shiftless = AutoencoderKL(latent_channels=4, block_out_channels=(8,), norm_num_groups=4)
    with pytest.raises(ValueError, match="scaling_factor 0.18215 and shift_factor None"):
        FluxVAE(shiftless)
