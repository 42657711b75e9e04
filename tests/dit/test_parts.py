"""Laws of the transformer's small parts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.dit import Modulation, TransformerConfig, patchify, unpatchify
from omnigen2.dit.embedding import TextEmbedder
from omnigen2.dit.modulation import spread
from omnigen2.dit.patch import segment
from omnigen2.layout import ImageSegment, Ragged
from tests.strategies import SMALL, seeds

grid = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))


@given(grid)
def test_unpatchify_inverts_patchify(size: tuple[int, int, int, int]) -> None:
    height, width, channels, patch = size
    latent = torch.randn(channels, height * patch, width * patch)
    patches = patchify(latent, patch)
    assert patches.shape == (height * width, patch * patch * channels)
    image = segment(latent, patch, "target")
    assert image == ImageSegment(height, width, "target")
    torch.testing.assert_close(unpatchify(patches, image, patch), latent, rtol=0, atol=0)


@given(grid)
def test_a_token_is_a_patch_with_channels_fastest(size: tuple[int, int, int, int]) -> None:
    height, width, channels, patch = size
    latent = torch.randn(channels, height * patch, width * patch)
    patches = patchify(latent, patch)
    for token in range(height * width):
        row, column = divmod(token, width)
        tile = latent[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
        torch.testing.assert_close(patches[token], tile.permute(1, 2, 0).flatten(), rtol=0, atol=0)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), seeds)
def test_spreading_and_its_gradient_are_those_of_indexing(lengths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    owner = Ragged.of(lengths).owners()
    values = torch.randn(len(lengths), 3, dtype=torch.float64, generator=generator).requires_grad_()
    weights = torch.randn(len(owner), 3, dtype=torch.float64, generator=generator)
    spread_out = spread(values, owner)
    torch.testing.assert_close(spread_out, values[owner], rtol=0, atol=0)
    (gradient,) = torch.autograd.grad((spread_out * weights).sum(), values)
    (expected,) = torch.autograd.grad((values[owner] * weights).sum(), values)
    torch.testing.assert_close(gradient, expected)


def test_a_bfloat16_gradient_is_summed_in_float32() -> None:
    """Four thousand times 1: a running bfloat16 sum would stop at 256."""
    values = torch.zeros(1, 1, dtype=torch.bfloat16, requires_grad=True)
    spread(values, torch.zeros(4096, dtype=torch.int64)).sum().backward()
    assert values.grad is not None
    assert values.grad.item() == 4096


@given(st.floats(-1, 1))
def test_new_gates_are_open_as_far_as_asked(gate_bias: float) -> None:
    modulation = Modulation(6, 4, gate_bias)
    for branch in modulation(torch.randn(2, 6)):
        torch.testing.assert_close(branch.scale, torch.ones(2, 4), rtol=0, atol=0)
        torch.testing.assert_close(branch.gate, torch.full((2, 4), gate_bias).tanh())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: patchify(torch.zeros(1, 3, 4), 2), "height 3 and width 4 .* patches of 2; .* multiples of 2"),
        (
            lambda: unpatchify(torch.zeros(5, 4), ImageSegment(2, 3, "target"), 2),
            "5 tokens for an image of 2x3 = 6",
        ),
        (
            lambda: TransformerConfig(**(vars(SMALL) | {"hidden_size": 25})),
            r"hidden_size \(25\) must be num_heads \(3\) times the sum of axes \(4, 2, 2\), which is 24",
        ),
        (lambda: TransformerConfig(**(vars(SMALL) | {"num_layers": -1})), "num_layers must not be negative, got -1"),
    ],
)
def test_refusals(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(2, 12))
def test_a_whitened_projection_sees_uncorrelated_channels(seed: int, channels: int) -> None:
    """What it computes is a plain projection of features with unit covariance, however they were scaled and mixed."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(channels, channels, generator=generator) * torch.logspace(0, -1.5, channels)
    features = torch.randn(50 * channels, channels, generator=generator) @ mixing.T + 1
    embedder = TextEmbedder(channels, channels, 1e-6)
    with torch.no_grad():
        embedder.linear.weight.copy_(torch.eye(channels))
        embedder.linear.bias.zero_()
    embedder.whiten(features, floor=0.0)
    output = embedder(features)
    centred = output - output.mean(0)
    # the norm puts features on a sphere, which may take one direction away
    variances = torch.linalg.eigvalsh(centred.T @ centred / len(output))
    assert torch.all((variances - 1).abs() < 0.05), variances
    torch.testing.assert_close(output.mean(0), torch.zeros(channels), atol=1e-2, rtol=0)


def test_whitening_needs_as_many_tokens_as_channels() -> None:
    with pytest.raises(ValueError, match=r"as many tokens as channels \(8\), got 5; give more texts"):
        TextEmbedder(8, 4, 1e-6).whiten(torch.randn(5, 8))
