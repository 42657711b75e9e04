"""Named sizes of the diffusion transformer."""

from omnigen2.dit.config import TransformerConfig
from omnigen2.dit.model import DiffusionTransformer

OMNIGEN2_4B = TransformerConfig(
    hidden_size=2520,
    num_layers=32,
    num_refiner_layers=2,
    num_heads=21,
    num_kv_heads=7,
    axes=(40, 40, 40),
    in_channels=16,
    text_dim=2048,
)
"""The released model: 3,967,161,400 parameters."""

MICRO = TransformerConfig(
    hidden_size=128,
    num_layers=6,
    num_refiner_layers=1,
    num_heads=4,
    num_kv_heads=2,
    axes=(8, 12, 12),
    in_channels=3,
    patch_size=4,
    text_dim=64,
    multiple_of=64,
    gate_bias=0.5,
)
"""For small pictures on a CPU: pixels instead of latents, 4 x 4 pixels a patch."""

TOY = TransformerConfig(
    hidden_size=96,
    num_layers=3,
    num_refiner_layers=0,
    num_heads=4,
    num_kv_heads=4,
    axes=(8, 8, 8),
    in_channels=3,
    text_dim=96,
    ffn_multiplier=2 / 3,
    multiple_of=32,
    max_references=0,
)
"""The model of the RoPE toy experiment, without image-index embedding."""


def omnigen2_4b() -> DiffusionTransformer:
    """The released 4B transformer. Build it under `torch.device("meta")` unless 16 GB of float32 are wanted."""
    return DiffusionTransformer(OMNIGEN2_4B)


def micro() -> DiffusionTransformer:
    """A model of about 2 million parameters for experiments on a CPU."""
    return DiffusionTransformer(MICRO)
