"""The branches of guidance as samples of one packed batch."""

from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Literal, NamedTuple, TypeAlias, assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.dit import Condition, DiffusionTransformer, Inputs, patchify, segment
from omnigen2.layout import Layout, Ragged, Segment, TextSegment

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
    """One joint sample of the packed batch: a picture under one condition."""

    sample: int
    negative: bool
    references: bool


class PackedBranches:
    """A velocity model that evaluates every branch of every sample in one call of the transformer.

    What it takes and gives is what a `Guidance` expects: all tokens of branch 0, then all of branch 1, and so on.
    The branches of a sample share its noisy target and its references, which are embedded and refined once; branches
    that are the same (without references, the reference branch is the unconditional one) are computed once. What does
    not depend on the time is prepared at the first call and kept.

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
        self._tokens = sum(target.tokens for target in self.targets)
        borders = Ragged.of(self.targets[row.sample].tokens for row in self.rows)
        places = [self.rows.index(row) for row in wanted]
        spans = [torch.arange(borders.offsets[place], borders.offsets[place + 1]) for place in places]
        self._give = torch.cat(spans).to(dit.target_embedder.weight.device)

    @cached_property
    def condition(self) -> Condition:
        """What the transformer keeps over the steps."""
        return self.dit.prepare(self.inputs)

    @property
    def inputs(self) -> Inputs:
        """Every text, reference and target once, and the rows that share them."""
        config, weight = self.dit.config, self.dit.target_embedder.weight
        like = torch.empty(0, dtype=weight.dtype, device=weight.device)  # a plain tensor, also if weights are sharded
        numbers = count()
        batch: list[tuple[Segment, ...]] = []
        images: list[list[int]] = []
        for sample, target in zip(self.samples, self.targets, strict=True):
            references = [segment(latent, config.patch_size, "reference") for latent in sample.references]
            batch.append((*references, target))
            images.append([next(numbers) for _ in batch[-1]])
        texts = {row[:2]: self._text(row) for row in self.rows if len(self._text(row))}
        batch += [(TextSegment(len(states)),) for states in texts.values()]
        text_numbers = {key: [next(numbers)] for key in texts}
        joint = tuple(
            (*text_numbers.get(row[:2], ()), *images[row.sample][0 if row.references else -1 :]) for row in self.rows
        )
        latents = [latent.to(like) for sample in self.samples for latent in sample.references]
        return Inputs(
            Layout(tuple(batch)),
            torch.cat([like.new_empty(0, config.text_dim), *(states.to(like) for states in texts.values())]),
            torch.cat([like.new_empty(0, config.patch_channels), *(patchify(z, config.patch_size) for z in latents)]),
            joint,
        )

    def __call__(
        self, x_t: Float[Tensor, " tokens *features"], t: Float[Tensor, " samples"], /
    ) -> Float[Tensor, " tokens *features"]:
        """The velocities of all branches.

        Args:
            x_t: Patches, branch behind branch, shape (branches * tokens, patch_channels); the same in all branches.
            t: Times, branch behind branch, shape (branches * samples,); the same in all branches.

        Returns:
            Shape of `x_t`.
        """
        pictures, condition = len(self.samples), self.condition
        times = torch.cat((t[:pictures], t[:1].expand(condition.samples - pictures)))  # texts have no use for a time
        return self.dit(x_t[: self._tokens], times, condition).index_select(0, self._give)

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

    def _text(self, row: _Row) -> TextStates:
        sample = self.samples[row.sample]
        return sample.negative if row.negative else sample.text
