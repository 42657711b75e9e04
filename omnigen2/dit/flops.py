"""How much arithmetic a batch costs, from its layout alone."""

from omnigen2.dit.config import TransformerConfig
from omnigen2.dit.embedding import FREQUENCIES
from omnigen2.dit.routing import Joint, joint_layout
from omnigen2.layout import Layout, Ragged


def forward_flops(config: TransformerConfig, layout: Layout, joint: Joint | None = None) -> int:
    """Floating-point operations of the matrix products in one forward pass, `prepare` included.

    A multiplication and an addition count as two. A training step costs three times as much, and four times where
    all activations are computed again.

    For `joint` see `Inputs`.
    """
    hidden, samples = config.hidden_size, len(layout)
    texts, references, targets = (layout.segments(kind) for kind in ("text", "reference", "target"))
    modulation = 2 * samples * config.time_size * 4 * hidden
    refiners = _block(config, texts)
    refiners += sum(_block(config, borders) + modulation for borders in (references, targets) if len(borders))
    together = layout if joint is None else joint_layout(layout, joint)
    blocks = _block(config, together.samples) + modulation
    embedding = 2 * samples * config.time_size * (FREQUENCIES + config.time_size)
    embedding += (
        2 * hidden * (config.patch_channels * (references.total + targets.total) + config.text_dim * texts.total)
    )
    velocities = together.segments("target").total
    output = 2 * hidden * (config.patch_channels * velocities + samples * config.time_size)
    return config.num_refiner_layers * refiners + config.num_layers * blocks + embedding + output


def _block(config: TransformerConfig, borders: Ragged) -> int:
    hidden = config.hidden_size
    kv_size = hidden // config.num_heads * config.num_kv_heads
    per_token = 2 * hidden * (2 * hidden + 2 * kv_size + 3 * config.inner_size)
    scores = sum(4 * length**2 * hidden for length in borders.lengths)
    return per_token * borders.total + scores
