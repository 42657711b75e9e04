"""Random layouts and their tensors."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.dit import DiffusionTransformer, Inputs, TransformerConfig
from omnigen2.layout import ImageSegment, Layout, TextSegment

sides = st.integers(1, 4)
seeds = st.integers(0, 2**31 - 1)


def images(role: str) -> st.SearchStrategy[ImageSegment]:
    return st.builds(ImageSegment, height=sides, width=sides, role=st.just(role))


@st.composite
def samples(draw, needs_target: bool = False, max_references: int = 5):
    """Text only, images only, 0 to 5 references, one-token images: everything a sample may be."""
    text = draw(st.lists(st.builds(TextSegment, length=st.integers(1, 9)), max_size=1))
    references = draw(st.lists(images("reference"), max_size=max_references))
    targets = [draw(images("target"))] if needs_target or not (text or references) or draw(st.booleans()) else []
    return (*text, *references, *targets)


def layouts(max_samples: int = 6, **options) -> st.SearchStrategy[Layout]:
    return st.lists(samples(**options), min_size=1, max_size=max_samples).map(lambda batch: Layout(tuple(batch)))


SMALL = TransformerConfig(
    hidden_size=24,
    num_layers=2,
    num_refiner_layers=1,
    num_heads=3,
    num_kv_heads=1,
    axes=(4, 2, 2),
    in_channels=3,
    text_dim=10,
    multiple_of=16,
)


def small_dit(seed: int = 0, config: TransformerConfig = SMALL, **options) -> DiffusionTransformer:
    """A tiny transformer with every weight random: gates open, output alive, norms not at one."""
    dit = DiffusionTransformer(config, **options)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in dit.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = 1 + 0.2 * noise if "norm" in name else 0.3 * noise
    return dit


def make_inputs(layout: Layout, seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Inputs]:
    """Random noisy targets, times and conditions for the small transformer."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    x_t = normal(layout.segments("target").total, SMALL.patch_channels)
    t = torch.rand(len(layout), generator=generator).to(dtype)
    text = normal(layout.segments("text").total, SMALL.text_dim)
    references = normal(layout.segments("reference").total, SMALL.patch_channels)
    return x_t, t, Inputs(layout, text, references)
