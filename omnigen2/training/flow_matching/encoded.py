"""Examples of pixels and words become what the transformer trains on, or draws from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.data.batches import Batch, Example, Pixels
from omnigen2.data.samples import DataError, Origins
from omnigen2.dit import Inputs, TransformerConfig, patchify
from omnigen2.encoders import LatentCodec, Moments, draw
from omnigen2.generate import EncodedSample
from omnigen2.layout import Layout, TokenIndex, unpack
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
        """Encode a batch to train on.

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
        made = [None if e.latents is None else e.latents.tensors[-1] for e in batch.examples]
        given = [
            latent
            for e in batch.examples
            for latent in (e.latents.tensors[:-1] if e.latents else [None] * len(e.references))
        ]
        data = self._patches(batch.targets, made, generator)
        inputs = Inputs(layout, text.states, self._patches(batch.references, given, generator))
        borders = layout.per_sample("target")
        return EncodedBatch(inputs, data, borders.owners(data.device), borders.lengths)

    @torch.no_grad()
    def samples(self, examples: Sequence[Example], seed: int | None = None) -> list[EncodedSample]:
        """What pictures are drawn from: states of the texts, means of the references' latents, and noise.

        Args:
            examples: With targets, which give the sizes.
            seed: Of the first picture's noise; the others have those after it. Without one the noise is a placeholder
                that has the right shape and no memory.

        Raises:
            DataError: If an example has no target.
        """
        packed, negative = self.text.of(examples), self.text.of_texts([""]).states
        found: list[EncodedSample] = []
        for number, (example, states) in enumerate(zip(examples, unpack(*packed), strict=True)):
            if example.target is None:
                raise DataError(f"{example.key} has no target, which says how large a picture to draw; give it one")
            shape, noise = self._latent_shape(example.target), torch.zeros(1, 1, 1)
            if seed is not None:
                noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed + number))
            references = tuple(self.codec.encode(example.references, "mode"))
            found.append(EncodedSample(states, negative, references, noise.expand(shape)))
        return found

    def layout(self, batch: Batch) -> Layout:
        """The plan of a batch: text, references and target of each example."""
        return batch.layout(self.text.of(batch.examples).borders.lengths)

    @cached_property
    def identity(self) -> str:
        """Of the codec."""
        return self.codec.identity()

    def _patches(
        self, images: Sequence[Pixels], known: Sequence[Moments | None], generator: torch.Generator | None
    ) -> Patches:
        """Packed patches of images, drawn from `known` moments where they were computed before.

        Raises:
            ValueError: If such moments have not the size of their image, which the layout is planned for.
        """
        if not images:
            return torch.empty(0, self.config.patch_channels, device=self.text.device)
        for image, moments in zip(images, known, strict=True):
            expected = self._latent_shape(image)
            if moments is not None and tuple(moments.shape[1:]) != expected:
                raise ValueError(
                    f"an image of {tuple(image.shape[1:])} pixels has a stored latent of shape "
                    f"{tuple(moments.shape[1:])}, expected {expected}; write the chunks again"
                )
        rest = [image for image, moments in zip(images, known, strict=True) if moments is None]
        generators = None if generator is None else [generator] * len(rest)
        encoded = iter(self.codec.encode(rest, "mode" if generator is None else "sample", generators) if rest else ())
        device = self.text.device
        latents = [next(encoded) if moments is None else draw(moments.to(device), generator) for moments in known]
        return torch.cat([patchify(latent, self.config.patch_size) for latent in latents])

    def _latent_shape(self, image: Pixels) -> tuple[int, int, int]:
        height, width = (side // self.codec.reduction for side in image.shape[1:])
        return self.codec.channels, height, width

    def check_stored(self, stored: Mapping[str, Origins]) -> None:
        """Refuse data, by name, that bring what other models or other rules have made.

        Raises:
            Mismatch: If there are such.
        """
        for name, origins in stored.items():
            if origins.latents is not None:
                origins.latents.check(f"the data {name!r}", codec=self.identity)
            if origins.states is not None:
                origins.states.check(f"the data {name!r}", reader=self.text.identity, prompts=self.text.prompts)

    def _check(self, batch: Batch) -> None:
        for example in batch.examples:
            if example.latents is not None:
                example.latents.origin.check(example.key, codec=self.identity)
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
