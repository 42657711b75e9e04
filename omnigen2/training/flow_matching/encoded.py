"""A batch of pixels and words becomes what the transformer trains on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.data.batches import Batch, Example, Pixels
from omnigen2.data.samples import DataError, Moments
from omnigen2.dit import Inputs, TransformerConfig, patchify
from omnigen2.encoders import LatentCodec, draw, identity
from omnigen2.layout import Layout, TokenIndex
from omnigen2.training.flow_matching.text_states import TextStates

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
    """The frozen encoders of a training. What examples bring that was computed before is taken instead.

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
            DataError: If an example has no target, sizes of tokens in batch and transformer differ, or latents or text
                states were made by other models or by other rules.
        """
        self._check(batch)
        text = self.text.of(batch.examples)
        layout = batch.layout(text.borders.lengths)
        made = [None if e.latents is None else e.latents.target for e in batch.examples]
        given = [m for e in batch.examples for m in (e.latents.references if e.latents else [None] * len(e.references))]
        data = self.patches(batch.targets, made, generator)
        inputs = Inputs(layout, text.states, self.patches(batch.references, given, generator))
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
    def patches(
        self, images: Sequence[Pixels], known: Sequence[Moments | None], generator: torch.Generator | None = None
    ) -> Patches:
        """Images as packed patches.

        Args:
            images: In [-1, 1].
            known: For each image its latent's moments if they were computed before.
            generator: As in `__call__`.

        Returns:
            Behind one another, shape (tokens, patch_channels); no tokens for no images.
        """
        if not images:
            return torch.empty(0, self.config.patch_channels, device=self.text.device)
        for image, moments in zip(images, known, strict=True):
            if moments is not None:
                self._check_shape(image, moments)
        rest = [image for image, moments in zip(images, known, strict=True) if moments is None]
        generators = None if generator is None else [generator] * len(rest)
        encoded = iter(self.codec.encode(rest, "mode" if generator is None else "sample", generators) if rest else ())
        device = self.text.device
        latents = [next(encoded) if moments is None else draw(moments.to(device), generator) for moments in known]
        return torch.cat([patchify(latent, self.config.patch_size) for latent in latents])

    def _check_shape(self, image: Pixels, moments: Moments) -> None:
        """Latents must have the sizes that the layout is planned for.

        Raises:
            ValueError: If they have not.
        """
        expected = (self.codec.channels, *(side // self.codec.reduction for side in image.shape[1:]))
        if tuple(moments.shape[1:]) != expected:
            raise ValueError(
                f"an image of {tuple(image.shape[1:])} pixels has a stored latent of shape "
                f"{tuple(moments.shape[1:])}, expected {expected}; write the chunks again"
            )

    @cached_property
    def identity(self) -> str:
        """Of the codec."""
        return identity(self.codec)

    def _check(self, batch: Batch) -> None:
        for example in batch.examples:
            if example.latents is not None:
                example.latents.origin.check_codec(self.identity, example.key)
        without = [example.key for example in batch.examples if example.target is None]
        if without:
            raise DataError(
                f"{len(without)} of {len(batch)} examples have no target to draw, such as {without[0]}; leave sources "
                "of understanding tasks out of flow training (weight 0)"
            )
        side, planned = self.codec.reduction * self.config.patch_size, batch.budget.resize.multiple
        if side != planned:
            raise DataError(
                f"a token is {side} pixels wide here (codec {self.codec.reduction}, patches {self.config.patch_size}), "
                f"but the data was planned for {planned}; set the resize policy's multiple to {side}"
            )
