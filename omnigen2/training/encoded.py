"""A batch of pixels and words becomes what the transformer trains on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.data.collate import Batch, Example, Pixels
from omnigen2.dit import Inputs, TransformerConfig, patchify
from omnigen2.encoders import LatentCodec
from omnigen2.layout import Layout, TokenIndex
from omnigen2.training.text_states import TextStates

Patches = Float[Tensor, "tokens patch_channels"]


class EncodedBatch(NamedTuple):
    """A batch after the frozen encoders.

    Attributes:
        inputs: Layout, text states and patches of the references.
        data: Patches of all targets, shape (target tokens, patch_channels).
        sample_index: The sample of each target token, on the device.
        tokens: Target tokens of each sample, on the host.
    """

    inputs: Inputs
    data: Patches
    sample_index: TokenIndex
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class BatchEncoder:
    """The frozen encoders of a training.

    Attributes:
        text: Reads instructions.
        codec: Makes latents.
        config: Of the transformer.
    """

    text: TextStates
    codec: LatentCodec
    config: TransformerConfig

    @torch.no_grad()
    def __call__(self, batch: Batch, generator: torch.Generator | None = None) -> EncodedBatch:
        """Encode a batch.

        Args:
            batch: Examples with targets.
            generator: Draws latents from the codec's distribution; its means are taken if None.

        Returns:
            Everything on the encoders' device.

        Raises:
            ValueError: If an example has no target, or sizes of tokens in batch and transformer differ.
        """
        self._check(batch)
        text = self.text.of(batch.examples)
        layout = batch.layout(text.borders.lengths)
        data = self.patches(batch.targets, generator)
        inputs = Inputs(layout, text.states, self.patches(batch.references, generator))
        borders = layout.per_sample("target")
        return EncodedBatch(inputs, data, borders.owners(data.device), borders.lengths)

    def layout(self, batch: Batch) -> Layout:
        """The plan of a batch.

        Args:
            batch: Any.

        Returns:
            Text, references and target of each example.
        """
        return batch.layout(self.text.of(batch.examples).borders.lengths)

    def elements(self, examples: Sequence[Example]) -> int:
        """Numbers in the latents of all targets.

        Args:
            examples: Those of a batch.

        Returns:
            At least 1.
        """
        sides = [image.shape[1:] for example in examples if (image := example.target) is not None]
        return max(1, sum(h * w for h, w in sides) // self.codec.reduction**2 * self.codec.channels)

    @torch.no_grad()
    def patches(self, images: Sequence[Pixels], generator: torch.Generator | None = None) -> Patches:
        """Images as packed patches.

        Args:
            images: In [-1, 1].
            generator: As in `__call__`.

        Returns:
            Behind one another, shape (tokens, patch_channels); no tokens for no images.
        """
        if not images:
            return torch.empty(0, self.config.patch_channels, device=self.text.encoder.device)
        generators = None if generator is None else [generator] * len(images)
        latents = self.codec.encode(images, "mode" if generator is None else "sample", generators)
        return torch.cat([patchify(latent, self.config.patch_size) for latent in latents])

    def _check(self, batch: Batch) -> None:
        without = [example.key for example in batch.examples if example.target is None]
        if without:
            raise ValueError(
                f"{len(without)} of {len(batch)} examples have no target to draw, such as {without[0]}; leave sources "
                "of understanding tasks out of flow training (weight 0)"
            )
        side, planned = self.codec.reduction * self.config.patch_size, batch.budget.resize.multiple
        if side != planned:
            raise ValueError(
                f"a token is {side} pixels wide here (codec {self.codec.reduction}, patches {self.config.patch_size}), "
                f"but the data was planned for {planned}; set the resize policy's multiple to {side}"
            )
