"""The policy as velocities of a packed batch, in which the pictures of one prompt share its text and references."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.data.batches import Example
from omnigen2.dit import DiffusionTransformer, Inputs, patchify, segment, unpatchify
from omnigen2.flow import VelocityModel
from omnigen2.generate import BRANCHES, Branch, EncodedSample, PackedBranches, Sampling
from omnigen2.layout import ImageSegment, Layout, Ragged, Segment, TextSegment, unpack
from omnigen2.rl import Decoder, Rollout
from omnigen2.training.flow_matching import BatchEncoder, negative_states


class GroupBranches(PackedBranches):
    """`PackedBranches` in which samples that have the very same texts or references (the same objects) share them.

    Args:
        dit: The transformer.
        samples: The batch.
        branches: What each sample is evaluated under.
        keep: Whether what does not depend on the time is computed once and kept, as drawing wants it. Otherwise it is
            computed at every call: a graph is used once, and weights change.
        companion: Whether a batch without references gets one more reference that nobody looks at, so that all
            processes run the same parts; see `omnigen2.training.parts.companion`.
    """

    def __init__(
        self,
        dit: DiffusionTransformer,
        samples: tuple[EncodedSample, ...],
        branches: tuple[Branch, ...],
        keep: bool,
        companion: bool = False,
    ) -> None:
        super().__init__(dit, samples, branches)
        self.keep = keep
        self.companion = companion and not any(sample.references for sample in samples)
        self._shared = self._share()

    @property
    def inputs(self) -> Inputs:
        """Every text, every list of references and every target once."""
        return self._shared

    def __call__(
        self, x_t: Float[Tensor, " tokens *features"], t: Float[Tensor, " samples"], /
    ) -> Float[Tensor, " tokens *features"]:
        """The velocities of all branches, as in `PackedBranches`."""
        if self.keep:
            return super().__call__(x_t, t)
        pictures = len(self.samples)
        times = torch.cat((t[:pictures], t[:1].expand(len(self._shared.layout) - pictures)))
        return self.dit(x_t[: self._tokens], times, self._shared).index_select(0, self._give)

    def _share(self) -> Inputs:
        config, weight = self.dit.config, self.dit.target_embedder.weight
        like = torch.empty(0, dtype=weight.dtype, device=weight.device)  # a plain tensor, also if weights are sharded
        numbers = count()
        batch: list[tuple[Segment, ...]] = []
        references: dict[int, list[int]] = {}
        patches: list[Tensor] = []
        targets: list[int] = []
        for sample, target in zip(self.samples, self.targets, strict=True):
            new = () if id(sample.references) in references else sample.references
            segments = [segment(latent, config.patch_size, "reference") for latent in new]
            if id(sample.references) not in references:
                references[id(sample.references)] = [next(numbers) for _ in new]
            patches += [patchify(latent.to(like), config.patch_size) for latent in new]
            targets.append(next(numbers))
            batch.append((*segments, target))
        texts = {id(self._text(row)): self._text(row) for row in self.rows if len(self._text(row))}
        batch += [(TextSegment(len(states)),) for states in texts.values()]
        places = {key: next(numbers) for key in texts}
        joint: list[tuple[int, ...]] = []
        for row in self.rows:
            text, given = id(self._text(row)), references[id(self.samples[row.sample].references)]
            joint.append(
                (
                    *([places[text]] if text in places else []),
                    *(given if row.references else []),
                    targets[row.sample],
                )
            )
        if self.companion:
            batch.append((ImageSegment(1, 1, "reference"),))
            joint.append((next(numbers),))
            patches.append(like.new_zeros(1, config.patch_channels))
        return Inputs(
            Layout(tuple(batch)),
            torch.cat([like.new_empty(0, config.text_dim), *(states.to(like) for states in texts.values())]),
            torch.cat([like.new_empty(0, config.patch_channels), *patches]),
            tuple(joint),
        )


@dataclass(frozen=True)
class Drawn:
    """Pictures that were drawn together.

    Attributes:
        members: Their numbers among those of this process.
        samples: What each was drawn from.
        rollout: Their states and probabilities.
    """

    members: tuple[int, ...]
    samples: tuple[EncodedSample, ...]
    rollout: Rollout

    def take(self, places: Sequence[int]) -> "Drawn":
        """Some of them: a micro-batch.

        Args:
            places: Their places here.
        """
        return replace(
            self,
            members=tuple(self.members[place] for place in places),
            samples=tuple(self.samples[place] for place in places),
            rollout=self.rollout.take(places),
        )


def cost_of(sample: EncodedSample, patch_size: int, branches: int) -> int:
    """Tokens that a picture takes in the joint blocks.

    Args:
        sample: What it is drawn from.
        patch_size: Of the transformer.
        branches: Of guidance.

    Returns:
        Text, references and target, once for each branch.
    """
    images = (*sample.references, sample.noise)
    return branches * (len(sample.text) + sum(segment(image, patch_size, "target").tokens for image in images))


def encode_prompts(encoder: BatchEncoder, examples: Sequence[Example]) -> list[EncodedSample]:
    """What pictures are drawn from; the noise is left to the rollout.

    Args:
        encoder: The frozen encoders.
        examples: With targets, which give the sizes.

    Returns:
        One for each prompt. Its noise is a placeholder without memory that has the right shape.

    Raises:
        ValueError: If a prompt has no target.
    """
    packed = encoder.text.of(examples)
    texts, negative = packed.states.split(list(packed.borders.lengths)), negative_states(encoder)
    found: list[EncodedSample] = []
    for example, text in zip(examples, texts, strict=True):
        if example.target is None:
            raise ValueError(f"{example.key} has no target, which says how large a picture to draw; give it one")
        height, width = (side // encoder.codec.reduction for side in example.target.shape[1:])
        references = tuple(encoder.codec.encode(example.references, "mode")) if example.references else ()
        shape = torch.zeros(1, 1, 1).expand(encoder.codec.channels, height, width)
        found.append(EncodedSample(text, negative, references, shape))
    return found


def models_of(
    dit: DiffusionTransformer,
    samples: tuple[EncodedSample, ...],
    sampling: Sampling | None,
    steps: int,
    keep: bool,
    companion: bool,
) -> tuple[VelocityModel, ...]:
    """The policy at each step.

    Args:
        dit: The transformer.
        samples: The batch.
        sampling: Its guidance; None for the conditional branch alone.
        steps: Of the grid.
        keep: See `GroupBranches`.
        companion: See `GroupBranches`.

    Returns:
        One velocity per step.
    """
    conditional = GroupBranches(dit, samples, BRANCHES[1], keep, companion)
    guidance = None if sampling is None else sampling.guidance(any(sample.references for sample in samples))
    if sampling is None or guidance is None:
        return (conditional,) * steps
    guided = GroupBranches(dit, samples, BRANCHES[guidance.num_branches], keep, companion)
    owners = Ragged.of(target.tokens for target in guided.targets).owners(dit.target_embedder.weight.device)
    return sampling.schedule().models(guidance(guided, owners), conditional, steps)


def branches_of(sampling: Sampling, references: bool) -> int:
    """How many branches of guidance a picture is evaluated under."""
    guidance = sampling.guidance(references)
    return 1 if guidance is None else guidance.num_branches


def decoder(encoder: BatchEncoder, samples: Sequence[EncodedSample]) -> Decoder:
    """Makes pictures of the last states of a batch.

    Args:
        encoder: Has the codec.
        samples: The batch.

    Returns:
        From packed patches to pictures in [-1, 1] on the host.
    """
    patch_size = encoder.config.patch_size
    targets = [segment(sample.noise, patch_size, "target") for sample in samples]

    def decode(final: Float[Tensor, " tokens *features"]) -> tuple[Float[Tensor, "channels _ _"], ...]:
        tokens = unpack(final, Ragged.of(target.tokens for target in targets))
        latents = [unpatchify(own, target, patch_size) for own, target in zip(tokens, targets, strict=True)]
        return tuple(picture.clamp(-1, 1).cpu() for picture in encoder.codec.decode(latents))

    return decode


@torch.no_grad()
def rescored(rollout: Rollout, models: Sequence[VelocityModel], keep_velocities: bool) -> Rollout:
    """The same pictures, with the probabilities that another policy would have drawn them with.

    Args:
        rollout: What was drawn.
        models: The other policy at each step.
        keep_velocities: Whether its velocities are kept too.

    Returns:
        Another rollout.
    """
    walk = rollout.trajectory
    log_probs: list[Tensor] = []
    velocities: list[Tensor] = []
    for _, step in rollout.steps():
        log_probs.append(rollout.score(models[step.index], step).log_prob(step.x_next))
        if keep_velocities:
            velocities.append(models[step.index](step.x_t, step.t.to(step.x_t)))
    return replace(
        rollout,
        trajectory=replace(walk, log_probs=torch.stack(log_probs)),
        velocities=torch.stack(velocities) if keep_velocities else None,
    )


def even_parts(parts: Sequence[range], least: int) -> list[range]:
    """Split parts until there are enough: processes that train together must run as many.

    Args:
        parts: Consecutive.
        least: How many there must be, at most as many as members.

    Returns:
        At least so many, in order; the longest ones are halved first.
    """
    found = list(parts)
    while len(found) < least:
        number = max(range(len(found)), key=lambda i: len(found[i]))
        part = found[number]
        middle = part.start + len(part) // 2
        found[number : number + 1] = [range(part.start, middle), range(middle, part.stop)]
    return found
