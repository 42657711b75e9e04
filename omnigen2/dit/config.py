"""The sizes of a diffusion transformer."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Everything that decides the parameters' shapes, and the constants that belong to them.

    Attributes:
        hidden_size: Channels of the tokens.
        num_layers: Joint blocks.
        num_refiner_layers: Blocks of each of the three refiners; may be 0.
        num_heads: Query heads.
        num_kv_heads: Key and value heads; divides `num_heads`.
        axes: Rotary channels per axis (instance, row, column); their sum is `hidden_size / num_heads`.
        in_channels: Channels of the latents.
        patch_size: Side of a patch in latent pixels.
        text_dim: Channels of the text features.
        multiple_of: The feed-forward's inner size is rounded up to a multiple of it.
        ffn_multiplier: Factor on the feed-forward's inner size of 4 * hidden_size.
        norm_eps: Of the blocks' RMS norms and the text norm.
        timestep_scale: Factor on the time in front of its sinusoid.
        theta: Base of the rotary wavelengths.
        max_references: Vectors of the image-index embedding: the largest number of references per sample. With 0
            there is no such embedding, and any number of references.
        gate_bias: Initial bias of the gates. 0, as in the released model, makes every new block the identity.

    Raises:
        ValueError: If sizes do not fit together.
    """

    hidden_size: int
    num_layers: int
    num_refiner_layers: int
    num_heads: int
    num_kv_heads: int
    axes: tuple[int, int, int]
    in_channels: int
    text_dim: int
    patch_size: int = 2
    multiple_of: int = 256
    ffn_multiplier: float | None = None
    norm_eps: float = 1e-5
    timestep_scale: float = 1000.0
    theta: float = 10000.0
    max_references: int = 5
    gate_bias: float = 0.0

    def __post_init__(self) -> None:
        if self.num_heads < 1 or self.hidden_size != self.num_heads * sum(self.axes):
            raise ValueError(
                f"hidden_size ({self.hidden_size}) must be num_heads ({self.num_heads}) times the sum of "
                f"axes {self.axes}, which is {self.num_heads * sum(self.axes)}"
            )
        for name in ("num_layers", "num_refiner_layers", "max_references"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    @property
    def patch_channels(self) -> int:
        """Channels of a patch."""
        return self.patch_size**2 * self.in_channels

    @property
    def time_size(self) -> int:
        """Channels of the time embedding: the hidden size, at most 1024."""
        return min(self.hidden_size, 1024)

    @property
    def inner_size(self) -> int:
        """Channels inside the feed-forward layers."""
        return inner_size(self.hidden_size, self.multiple_of, self.ffn_multiplier)


def inner_size(hidden_size: int, multiple_of: int, multiplier: float | None = None) -> int:
    """Inner width of the released model's feed-forward layers.

    Four times the hidden size, times the multiplier (rounded down) if there is one, rounded up to a multiple.
    """
    inner = 4 * hidden_size if multiplier is None else int(multiplier * 4 * hidden_size)
    return -(-inner // multiple_of) * multiple_of
