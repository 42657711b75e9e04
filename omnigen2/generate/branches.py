"""The branches of guidance as samples of one packed batch."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias, assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.dit import Condition, DiffusionTransformer, Inputs, patchify
from omnigen2.dit.patch import segment
from omnigen2.layout import Layout, Ragged, Segment, TextSegment, TokenIndex

Branch: TypeAlias = Literal["conditional", "reference", "unconditional"]
Latent: TypeAlias = Float[Tensor, "channels _ _"]
TextStates: TypeAlias = Float[Tensor, "_ text_dim"]

BRANCHES: dict[int, tuple[Branch, ...]] = {
    1: ("conditional",),
    2: ("conditional", "unconditional"),
    3: ("conditional", "reference", "unconditional"),
}
"""Branches by their number, in the order of `omnigen2.flow.guidance`."""


@dataclass(frozen=True, slots=True)
class EncodedSample:
    """One picture's conditions, as they come from the encoders, and the noise it starts from.

    Attributes:
        text: States of the prompt, shape (tokens, text_dim); no tokens is allowed.
        negative: States of the negative prompt, shape (tokens, text_dim).
        references: Scaled latents of the references, each of shape (channels, height, width) in latent pixels.
        noise: Shape (channels, height, width) in latent pixels.
    """

    text: TextStates
    negative: TextStates
    references: tuple[Latent, ...]
    noise: Latent


class _Row(NamedTuple):
    """One sample of the packed batch: a picture under one condition."""

    sample: int
    negative: bool
    references: bool


class PackedBranches:
    """A velocity model that evaluates every branch of every sample in one call of the transformer.

    What it takes and gives is what a `Guidance` expects: all tokens of branch 0, then all of branch 1, and so on.
    Branches that are the same (without references, the reference branch is the unconditional one) are computed once.
    What does not depend on the time is prepared at the first call and kept.

    Args:
        dit: The transformer.
        samples: The batch.
        branches: What each sample is evaluated under.
    """

    def __init__(
        self, dit: DiffusionTransformer, samples: tuple[EncodedSample, ...], branches: tuple[Branch, ...]
    ) -> None:
        self.dit = dit
        self.samples = samples
        self.targets = tuple(segment(sample.noise, dit.config.patch_size, "target") for sample in samples)
        wanted = [self._row(number, branch) for branch in branches for number in range(len(samples))]
        self.rows = tuple(dict.fromkeys(wanted))
        first = torch.tensor([wanted.index(row) for row in self.rows])
        place = torch.tensor([self.rows.index(row) for row in wanted])
        device = dit.target_embedder.weight.device
        self._first = first.to(device)
        self._take = self._spans(wanted, first).to(device)
        self._give = self._spans(list(self.rows), place).to(device)

    @cached_property
    def condition(self) -> Condition:
        """What the transformer keeps over the steps."""
        return self.dit.prepare(self.inputs)

    @property
    def inputs(self) -> Inputs:
        """Layout, texts and reference patches of all rows."""
        config, weight = self.dit.config, self.dit.target_embedder.weight
        batch: list[tuple[Segment, ...]] = []
        texts: list[Tensor] = [weight.new_empty(0, config.text_dim)]
        patches: list[Tensor] = [weight.new_empty(0, config.patch_channels)]
        for row in self.rows:
            sample = self.samples[row.sample]
            text = sample.negative if row.negative else sample.text
            references = sample.references if row.references else ()
            segments: list[Segment] = [TextSegment(text.shape[0])] if text.shape[0] else []
            segments += [segment(latent, config.patch_size, "reference") for latent in references]
            batch.append((*segments, self.targets[row.sample]))
            texts.append(text.to(weight))
            patches += [patchify(latent.to(weight), config.patch_size) for latent in references]
        return Inputs(Layout(tuple(batch)), torch.cat(texts), torch.cat(patches))

    def __call__(
        self, x_t: Float[Tensor, " tokens *features"], t: Float[Tensor, " samples"], /
    ) -> Float[Tensor, " tokens *features"]:
        """The velocities of all branches.

        Args:
            x_t: Patches, branch behind branch, shape (branches * tokens, patch_channels).
            t: Times, branch behind branch, shape (branches * samples,).

        Returns:
            Shape of `x_t`.
        """
        velocity = self.dit(x_t.index_select(0, self._take), t.index_select(0, self._first), self.condition)
        return velocity.index_select(0, self._give)

    def _row(self, number: int, branch: Branch) -> _Row:
        has_references = bool(self.samples[number].references)
        match branch:
            case "conditional":
                return _Row(number, False, has_references)
            case "reference":
                return _Row(number, True, has_references)
            case "unconditional":
                return _Row(number, True, False)
            case _:
                assert_never(branch)

    def _spans(self, rows: list[_Row], wanted: Tensor) -> TokenIndex:
        """The target tokens of some rows, among those of all given rows."""
        borders = Ragged.of(self.targets[row.sample].tokens for row in rows)
        numbers: list[int] = wanted.tolist()
        return torch.cat([torch.arange(borders.offsets[n], borders.offsets[n + 1]) for n in numbers])
