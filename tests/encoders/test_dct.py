"""The codec without weights: an inverse where it can be one, and the same first channels whatever its blocks."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from omnigen2.encoders import BlockDCT, load_codec

FACTORS = st.integers(2, 6)
SCALES = st.floats(0.1, 5)
SEEDS = st.integers(0, 1000)


def picture(seed: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@given(SEEDS, SCALES, st.integers(1, 5), st.integers(1, 5))
def test_blocks_of_two_pixels_lose_nothing(seed: int, scale: float, height: int, width: int) -> None:
    codec, image = BlockDCT(2, scale), picture(seed, 2 * height, 2 * width)
    (latent,) = codec.encode([image])
    assert latent.shape == (12, height, width)
    torch.testing.assert_close(codec.decode([latent])[0], image, atol=1e-5, rtol=0)


@given(SEEDS, FACTORS, SCALES)
def test_encoding_undoes_decoding(seed: int, factor: int, scale: float) -> None:
    codec = BlockDCT(factor, scale)
    # small coefficients, so that no pixel is clipped
    latent = (torch.rand(12, 3, 2, generator=torch.Generator().manual_seed(seed)) - 0.5) * scale / 4
    torch.testing.assert_close(codec.encode(codec.decode([latent]))[0], latent, atol=1e-5, rtol=1e-4)


@given(SEEDS, FACTORS, SCALES)
def test_the_first_channels_are_mean_colours(seed: int, factor: int, scale: float) -> None:
    image = picture(seed, 3 * factor, 2 * factor)
    (latent,) = BlockDCT(factor, scale).encode([image])
    torch.testing.assert_close(latent[:3], F.avg_pool2d(image, factor) * scale, atol=1e-5, rtol=1e-4)


@given(SEEDS, FACTORS, st.floats(-0.5, 0.5))
def test_encoding_is_linear(seed: int, factor: int, weight: float) -> None:
    codec = BlockDCT(factor)
    first, second = picture(seed, factor, factor), picture(seed + 1, factor, factor)
    mixed = codec.encode([first + weight * second])[0]
    one, other = codec.encode([first, second])
    torch.testing.assert_close(mixed, one + weight * other, atol=1e-5, rtol=1e-4)


def test_gradients_reach_latents() -> None:
    latent = torch.zeros(12, 2, 2, requires_grad=True)
    BlockDCT(4).decode([latent])[0].sum().backward()
    assert latent.grad is not None
    assert latent.grad[:3].abs().min() > 0


def test_a_folder_holds_it(tmp_path: Path) -> None:
    BlockDCT(4, 1.5).save(tmp_path / "vae")
    codec = load_codec(tmp_path / "vae")
    assert isinstance(codec, BlockDCT)
    assert (codec.reduction, codec.scale, codec.channels) == (4, 1.5, 12)
    (tmp_path / "vae" / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(ValueError, match="holds a AutoencoderKL, expected BlockDCT"):
        BlockDCT.from_folder(tmp_path / "vae")


def test_wrong_calls() -> None:
    for factor, scale in ((1, 3), (2, 0)):
        with pytest.raises(ValueError, match=f"factor >= 2 and scale > 0, got {factor} and {scale}"):
            BlockDCT(factor, scale)
    with pytest.raises(ValueError, match="image 0 has height 6 and width 8 pixels; both must be multiples of 4"):
        BlockDCT(4).encode([torch.zeros(3, 6, 8)])
    with pytest.raises(ValueError, match=r"latent 0 has shape \(16, 2, 2\); expected 12 channels"):
        BlockDCT(4).decode([torch.zeros(16, 2, 2)])
