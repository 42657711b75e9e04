"""The diffusion transformer: packed texts, references and noisy targets in, velocities out."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from omnigen2.dit.attention import Attention
from omnigen2.dit.backends import AttentionBackend, Borders, goes_by_length
from omnigen2.dit.block import Block, ModulatedBlock, SwiGLU
from omnigen2.dit.config import TransformerConfig
from omnigen2.dit.embedding import TextEmbedder, TimeEmbedder
from omnigen2.dit.modulation import Modulation, OutputLayer
from omnigen2.dit.routing import Joint, Pack, Routes, joint_layout, own_segments
from omnigen2.errors import UserError, check_choice, check_instance
from omnigen2.layout import Layout, TokenStates
from omnigen2.rope import ImageIndexEmbedding, OmniPositions, PositionScheme, RotaryEmbedding, Rotation

BlockGroup: TypeAlias = Literal["text_refiner", "reference_refiner", "noise_refiner", "blocks"]
Patches: TypeAlias = Float[Tensor, "tokens patch_channels"]
TextFeatures: TypeAlias = Float[Tensor, "tokens text_dim"]
Times: TypeAlias = Float[Tensor, " samples"]


class Inputs(NamedTuple):
    """What a batch is conditioned on, as it comes from the encoders.

    Attributes:
        layout: The plan of the packed batch.
        text: Features of all text tokens, sample by sample, shape (text tokens, text_dim).
        references: Patches of all clean reference latents, sample by sample, shape (reference tokens,
            patch_channels); None without references.
        joint: What attends together, if not each sample's own segments: for each joint sample the numbers of its
            segments, counted through the layout, text before references before target. A segment may stand in
            several joint samples, and is embedded and refined once: the branches of guidance share their target
            and references, the pictures of one prompt its text. A joint sample has the time of its target, a
            reference that of the first joint sample it stands in; its image index is that of its own sample.
    """

    layout: Layout
    text: TextFeatures
    references: Patches | None = None
    joint: Joint | None = None


class Condition(NamedTuple):
    """Everything that does not depend on the time or the noisy target: computed once, used at every step.

    Attributes:
        samples: Number of samples of the layout, each with its time.
        routes: Indices and borders on the device.
        text: Refined text tokens.
        references: Embedded reference tokens (their refiner sees the time, so they are not yet refined).
        joint_rotation: Of all tokens.
        reference_rotation: Of the reference tokens.
        target_rotation: Of the target tokens.
    """

    samples: int
    routes: Routes
    text: TokenStates
    references: TokenStates
    joint_rotation: Rotation
    reference_rotation: Rotation
    target_rotation: Rotation

    @property
    def joint(self) -> Pack:
        """The joint samples, as blocks take them."""
        return Pack(self.joint_rotation, self.routes.samples, self.routes.owner)


Inside: TypeAlias = Callable[["DiffusionTransformer", TokenStates, Tensor, Condition], Tensor]
"""What may take the place of the blocks in `DiffusionTransformer.forward`: from the joint states in front of them and
the embedded times to those of all targets behind them, by `DiffusionTransformer.through`. See `omnigen2.dit.cache`."""


class DiffusionTransformer(nn.Module):
    """OmniGen2's diffusion transformer over one packed token axis.

    Text, references and noisy target are embedded and refined apart (each text, reference and target sees only
    itself), then joined sample by sample and passed through blocks whose parameters all kinds share. The velocity
    is read off the target tokens. A new model answers zero everywhere.

    Computation runs in the dtype of the weights; the velocity comes in the dtype of `x_t`.

    Args:
        config: Sizes.
        positions: Where tokens stand; the paper's Omni-RoPE by default.
        backend: Attention kernel, see `omnigen2.dit.attend`.
        checkpointing: Groups of blocks whose activations are computed again in the backward pass instead of kept.

    Raises:
        ValueError: If sizes do not fit together.
        ImportError: If the attention backend's package is not installed.

    Source: arXiv:2506.18871; blocks after Lumina-Image 2.0, arXiv:2503.21758.

    Example:
        >>> from omnigen2.dit import Inputs, variants
        >>> from omnigen2.layout import ImageSegment, Layout, TextSegment
        >>> dit = variants.micro()
        >>> layout = Layout(((TextSegment(7), ImageSegment(4, 4, "reference"), ImageSegment(4, 6, "target")),))
        >>> inputs = Inputs(layout, torch.randn(7, dit.config.text_dim), torch.randn(16, dit.config.patch_channels))
        >>> condition = dit.prepare(inputs)
        >>> dit(torch.randn(24, dit.config.patch_channels), torch.tensor([0.3]), condition).shape
        torch.Size([24, 48])
    """

    def __init__(
        self,
        config: TransformerConfig,
        positions: PositionScheme | None = None,
        backend: AttentionBackend = "auto",
        checkpointing: Sequence[BlockGroup] = (),
    ) -> None:
        super().__init__()
        for group in checkpointing:
            check_choice("a group of checkpointing", group, BlockGroup)
        self.config = config
        self.positions = OmniPositions() if positions is None else positions
        check_instance("positions of DiffusionTransformer", self.positions, PositionScheme)
        self.backend: AttentionBackend = backend
        self.checkpointing = frozenset(checkpointing)
        hidden, patch_channels = config.hidden_size, config.patch_channels
        refiners = range(config.num_refiner_layers)
        self.rotary = RotaryEmbedding(config.axes, config.theta)
        self.target_embedder = nn.Linear(patch_channels, hidden)
        self.reference_embedder = nn.Linear(patch_channels, hidden)
        self.time_embedder = TimeEmbedder(config.time_size, config.timestep_scale)
        self.text_embedder = TextEmbedder(config.text_dim, hidden, config.norm_eps)
        self.text_refiner = nn.ModuleList(self._block() for _ in refiners)
        self.reference_refiner = nn.ModuleList(self._modulated_block() for _ in refiners)
        self.noise_refiner = nn.ModuleList(self._modulated_block() for _ in refiners)
        self.blocks = nn.ModuleList(self._modulated_block() for _ in range(config.num_layers))
        self.output = OutputLayer(config.time_size, hidden, patch_channels)
        self.reference_index: ImageIndexEmbedding | None = None
        self.reset_parameters()
        if config.max_references:  # last, so that it takes no random numbers from the other weights
            self.reference_index = ImageIndexEmbedding(config.max_references, hidden)

    def reset_parameters(self) -> None:
        """Draw new weights: Xavier-uniform matrices, zero biases, zero output and (weights of) modulation.

        From one seed, models with and without an image-index embedding get the same other weights.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.RMSNorm):
                module.reset_parameters()
        for module in self.modules():
            if isinstance(module, Modulation):
                module.reset_parameters()
        nn.init.zeros_(self.output.scale.weight)
        nn.init.zeros_(self.output.linear.weight)
        if self.reference_index is not None:
            self.reference_index.reset_parameters()

    def prepare(self, inputs: Inputs) -> Condition:
        """Do once what does not depend on the time: embed everything given, refine the text, place the tokens.

        Raises:
            UserError: If it is something else.
            ValueError: If features or patches do not fit the layout, or a sample has too many references.
        """
        if not isinstance(inputs, Inputs):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UserError(f"the condition is a {type(inputs).__name__}, expected Inputs or what `prepare` gave")
        layout = inputs.layout
        device, dtype = self.target_embedder.weight.device, self.target_embedder.weight.dtype
        texts, references = layout.segments("text"), layout.segments("reference")
        given = inputs.references
        patches = inputs.text.new_empty((0, self.config.patch_channels)) if given is None else given
        _check(inputs.text, "text features", (texts.total, self.config.text_dim))
        _check(patches, "reference patches", (references.total, self.config.patch_channels))
        if self.reference_index is not None:
            self.reference_index.check(layout)
        joint = own_segments(layout) if inputs.joint is None else inputs.joint
        routes = Routes.of(layout, joint, device)
        rotation = self.rotary(self.positions(joint_layout(layout, joint)).to(device, non_blocking=True))
        text = self.text_embedder(inputs.text.to(dtype))
        if texts.total:
            text = self._run("text_refiner", text, Pack(rotation.take(routes.text_place), Borders.of(texts, device)))
        embedded = self.reference_embedder(patches.to(dtype))
        if self.reference_index is not None:
            embedded = self.reference_index(embedded, layout.reference_numbers().to(device, non_blocking=True))
        return Condition(
            samples=len(layout),
            routes=routes,
            text=text,
            references=embedded,
            joint_rotation=rotation,
            reference_rotation=rotation.take(routes.reference_place),
            target_rotation=rotation.take(routes.target_place),
        )

    @override
    def forward(
        self, x_t: Patches, t: Times | float, condition: Condition | Inputs, inside: Inside | None = None
    ) -> Float[Tensor, "_ patch_channels"]:
        """The velocity of the noisy targets.

        Args:
            x_t: Patches of all noisy targets, sample by sample, shape (target tokens, patch_channels).
            t: Time of each sample of the layout, 0 noise and 1 data, shape (samples,); or one of all, as a number. What
                is outside of [0, 1] is refused where looking costs nothing: not on a device, and not when compiled.
            condition: What `prepare` made, or what it takes: then it is called here, so that wrappers of
                `forward` (data-parallel ones above all) see the whole computation.
            inside: What runs the blocks, or reuses what they gave; all of them if None.

        Returns:
            Same dtype as `x_t`; same shape, or, with `Inputs.joint`, the tokens of all joint samples' targets.

        Raises:
            UserError: If the condition is something else.
            ValueError: If shapes do not fit the layout, or a time is outside of [0, 1].
        """
        if not isinstance(condition, Condition):
            condition = self.prepare(condition)
        routes = condition.routes
        if not isinstance(t, Tensor):
            t = torch.full((condition.samples,), t, device="cpu")
        if t.device.type == "cpu" and not torch.compiler.is_compiling():
            _check_times(t)
            t = t.to(x_t.device, non_blocking=True)
        _check(x_t, "x_t", (routes.target_place.shape[0], self.config.patch_channels))
        _check(t, "t", (condition.samples,))
        time = self.time_embedder(t)
        targets = self.target_embedder(x_t.to(self.target_embedder.weight.dtype))
        if routes.targets.lengths:
            owner = routes.owner[routes.target_place]
            targets = self._run("noise_refiner", targets, Pack(condition.target_rotation, routes.targets, owner), time)
        references = condition.references
        if routes.references.lengths:
            owner = routes.owner[routes.reference_place]
            pack = Pack(condition.reference_rotation, routes.references, owner)
            references = self._run("reference_refiner", references, pack, time)
        joint = routes.join(condition.text, references, targets)
        if inside is None:
            targets = self.through(joint, condition.joint, time).index_select(0, routes.target)
        else:
            targets = inside(self, joint, time, condition)
        return self.output(targets, time, routes.owner[routes.target]).to(x_t.dtype)

    def through(self, states: TokenStates, pack: Pack, time: Tensor, some: slice = slice(None)) -> TokenStates:
        """Joint samples, or some of them, through all blocks or some of them, at embedded times."""
        return self._run("blocks", states, pack, time, some)

    def _run(
        self,
        group: BlockGroup,
        states: TokenStates,
        pack: Pack,
        time: Tensor | None = None,
        some: slice = slice(None),
    ) -> TokenStates:
        unsorted, (rotation, borders, owner) = None, pack
        if borders.by_length is not None and goes_by_length(self.backend, states):
            order, unsorted = borders.by_length, borders.unsorted
            states, rotation, borders = states.index_select(0, order), rotation.take(order), borders.sorted
            owner = None if owner is None else owner[order]
        for block in [*cast(nn.ModuleList, getattr(self, group))][some]:
            given = (states, rotation, borders, time, owner)
            if group in self.checkpointing and torch.is_grad_enabled():
                states = cast(Tensor, checkpoint(block, *given, use_reentrant=False))
            else:
                states = block(*given)
        return states if unsorted is None else states.index_select(0, unsorted)

    def _block(self) -> Block:
        config = self.config
        attention = Attention(config.hidden_size, config.num_heads, config.num_kv_heads, self.backend)
        return Block(attention, SwiGLU(config.hidden_size, config.inner_size), config.hidden_size, config.norm_eps)

    def _modulated_block(self) -> ModulatedBlock:
        config = self.config
        return ModulatedBlock(self._block(), Modulation(config.time_size, config.hidden_size, config.gate_bias))


def _check_times(t: Tensor) -> None:
    if not bool(((t >= 0) & (t <= 1)).all()):
        raise ValueError(
            f"times must be in [0, 1], 0 is noise and 1 is data, got {t.detach().flatten().tolist()[:8]}; a sigma or a "
            "scheduler's timestep of 1000 is converted by t = 1 - sigma"
        )


def _check(tensor: Tensor, name: str, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise ValueError(
            f"got {name} of shape {tuple(tensor.shape)} where the layout and the model's config expect {expected}; "
            "make the layout from the same tensors that are packed"
        )
