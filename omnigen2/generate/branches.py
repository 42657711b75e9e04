"""The branches of guidance as samples of one packed batch."""

from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Literal, NamedTuple, TypeAlias, assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.dit import Condition, DiffusionTransformer, Inputs, patchify, segment
from omnigen2.dit.cache import Run
from omnigen2.layout import ImageSegment, Layout, Ragged, Segment, TextSegment

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
    The branches of a sample share its noisy target and its references, which are embedded and refined once. Samples
    share texts that are the very same tensor, and references that are the very same tensors if their targets have the
    same size: references are refined with the time of their sample, and time shifts depend on the size. Branches that
    are the same (without references, the reference branch is the unconditional one) are computed once.

    Args:
        dit: The transformer.
        samples: The batch.
        branches: What each sample is evaluated under.
        keep: Whether what does not depend on the time is computed at the first call and kept, as drawing wants it.
            Otherwise it is computed at every call, for training: a graph is used once, and weights change.
        companion: Whether a batch without references gets one more reference that nobody looks at, so that processes
            that train together run the same parts.
        run: What is called in the transformer's place, with it in front; it may reuse what it computed before. Rows
            of the conditional branch are the first ones. It needs `keep`.
    """

    def __init__(
        self,
        dit: DiffusionTransformer,
        samples: tuple[EncodedSample, ...],
        branches: tuple[Branch, ...],
        keep: bool = True,
        companion: bool = False,
        run: Run | None = None,
    ) -> None:
        self.dit = dit
        self.run = run
        self.samples = samples
        self.keep = keep
        self.companion = companion and not any(sample.references for sample in samples)
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

    @cached_property
    def inputs(self) -> Inputs:
        """Every text, every list of references and every target once, and the rows that share them."""
        config, weight = self.dit.config, self.dit.target_embedder.weight
        like = torch.empty(0, dtype=weight.dtype, device=weight.device)  # a plain tensor, also if weights are sharded
        numbers = count()
        batch: list[tuple[Segment, ...]] = []
        targets: list[int] = []
        patches = [like.new_empty(0, config.patch_channels)]
        references: dict[tuple[object, ...], list[int]] = {}
        for sample, target in zip(self.samples, self.targets, strict=True):
            new = () if _shared(sample) in references else sample.references
            references.setdefault(_shared(sample), [next(numbers) for _ in new])
            patches += [patchify(latent.to(like), config.patch_size) for latent in new]
            targets.append(next(numbers))
            batch.append((*(segment(latent, config.patch_size, "reference") for latent in new), target))
        texts = {id(self._text(row)): self._text(row) for row in self.rows if len(self._text(row))}
        batch += [(TextSegment(len(states)),) for states in texts.values()]
        places = {key: (next(numbers),) for key in texts}
        joint = [
            (
                *places.get(id(self._text(row)), ()),
                *(references[_shared(self.samples[row.sample])] if row.references else ()),
                targets[row.sample],
            )
            for row in self.rows
        ]
        if self.companion:
            batch.append((ImageSegment(1, 1, "reference"),))
            joint.append((next(numbers),))
            patches.append(like.new_zeros(1, config.patch_channels))
        return Inputs(
            Layout(tuple(batch)),
            torch.cat([like.new_empty(0, config.text_dim), *(states.to(like) for states in texts.values())]),
            torch.cat(patches),
            tuple(joint),
        )

    def __call__(
        self, x_t: Float[Tensor, " tokens *features"], t: Float[Tensor, " samples"], /
    ) -> Float[Tensor, " tokens *features"]:
        """The velocities of all branches.

        Args:
            x_t: Patches, branch behind branch, shape (branches * tokens, patch_channels); the same in all branches.
            t: Times, branch behind branch, shape (branches * samples,); the same in all branches, and of samples that
                share references.

        Returns:
            Shape of `x_t`.
        """
        pictures = len(self.samples)
        others = t[:1].expand(len(self.inputs.layout) - pictures)  # texts have no use for a time
        times = torch.cat((t[:pictures], others))
        x_t = x_t[: self._tokens]
        if self.run is not None:
            velocity = self.run(self.dit, x_t, times, self.condition)
        else:
            velocity = self.dit(x_t, times, self.condition if self.keep else self.inputs)
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

    def _text(self, row: _Row) -> TextStates:
        sample = self.samples[row.sample]
        return sample.negative if row.negative else sample.text


def _shared(sample: EncodedSample) -> tuple[object, ...]:
    """The same for samples that share their references: the very same tensors, refined at the same time."""
    return (sample.noise.shape, *map(id, sample.references))
