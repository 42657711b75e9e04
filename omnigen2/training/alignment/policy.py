"""The policy as velocities of packed batches, in which the pictures of one prompt share its text and references."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.data.batches import Pixels
from omnigen2.dit import DiffusionTransformer, segment, unpatchify
from omnigen2.flow import VelocityModel
from omnigen2.generate import BRANCHES, EncodedSample, PackedBranches
from omnigen2.layout import ImageSegment, Ragged, unpack
from omnigen2.rl import Rollout, micro_batches
from omnigen2.runner.keep import of_all_processes
from omnigen2.training.alignment.settings import RolloutPart, UpdatePart
from omnigen2.training.flow_matching import BatchEncoder, SettingsError


@dataclass(frozen=True)
class MicroBatch:
    """Pictures that were drawn together.

    Attributes:
        members: Their numbers among those of this process.
        samples: What each was drawn from.
        rollout: Their states and probabilities.
    """

    members: tuple[int, ...]
    samples: tuple[EncodedSample, ...]
    rollout: Rollout

    def take(self, places: Sequence[int]) -> "MicroBatch":
        """Some of them, by their places here."""
        return replace(
            self,
            members=tuple(self.members[place] for place in places),
            samples=tuple(self.samples[place] for place in places),
            rollout=self.rollout.take(places),
        )


@dataclass(frozen=True)
class Policy:
    """The transformer, with what it draws and learns by: all that rollout worker and learner share.

    Attributes:
        dit: The transformer.
        encoder: The frozen encoders.
        rollout: How pictures are drawn.
        update: How the policy learns from them.
        companion: Whether other processes train along; see `PackedBranches`.
    """

    dit: DiffusionTransformer
    encoder: BatchEncoder
    rollout: RolloutPart
    update: UpdatePart
    companion: bool

    @property
    def patch_size(self) -> int:
        """Of the transformer."""
        return self.dit.config.patch_size

    @property
    def device(self) -> torch.device:
        """Of the transformer."""
        return self.dit.target_embedder.weight.device

    def models(
        self, samples: tuple[EncodedSample, ...], guided: bool, keep: bool, dit: DiffusionTransformer | None = None
    ) -> tuple[VelocityModel, ...]:
        """The velocity of a batch at each step of the grid.

        Args:
            samples: The batch.
            guided: Whether with guidance; else the conditional branch alone.
            keep: See `PackedBranches`.
            dit: Another transformer than the policy's.
        """
        dit, sampling = self.dit if dit is None else dit, self.rollout.sampling
        conditional = PackedBranches(dit, samples, BRANCHES[1], keep, self.companion)
        guidance = sampling.guidance(any(sample.references for sample in samples)) if guided else None
        if guidance is None:
            return (conditional,) * sampling.steps
        branches = PackedBranches(dit, samples, BRANCHES[guidance.num_branches], keep, self.companion)
        owners = Ragged.of(target.tokens for target in branches.targets).owners(self.device)
        return sampling.schedule().models(guidance(branches, owners), conditional, sampling.steps)

    def parts(self, lists: Sequence[Sequence[EncodedSample]], tokens: int, guided: bool) -> list[range]:
        """Cut samples into parts of a token budget, as many on every process; every process must call it.

        Args:
            lists: Samples; no part has some of two lists. All processes have as many samples, in lists as they like.
            tokens: Most tokens of a part.
            guided: Whether the branches of guidance are counted.

        Returns:
            Consecutive parts, counted through all lists.

        Raises:
            SettingsError: If one picture is more than a part may be.
        """
        parts: list[range] = []
        for samples in lists:
            costs = [cost_of(sample, self.patch_size, self._branches(sample) if guided else 1) for sample in samples]
            if max(costs, default=0) > tokens:
                raise SettingsError(
                    f"a picture takes {max(costs)} tokens with its text, references and branches of guidance, and "
                    f"{tokens} may be computed together; raise rollout.tokens and update.tokens of "
                    "model.init_args.alignment, or draw smaller pictures"
                )
            first = parts[-1].stop if parts else 0
            parts += [range(first + cut.start, first + cut.stop) for cut in micro_batches(costs, tokens)]
        return even_parts(parts, max(other["parts"] for other in of_all_processes({"parts": len(parts)})))

    def targets(self, samples: Sequence[EncodedSample]) -> list[ImageSegment]:
        """The place of each picture in the layout."""
        return [segment(sample.noise, self.patch_size, "target") for sample in samples]

    def decoded(self, samples: Sequence[EncodedSample], final: Float[Tensor, " tokens *features"]) -> list[Pixels]:
        """The pictures of the last states of a batch, in [-1, 1], on the host."""
        targets = self.targets(samples)
        tokens = unpack(final, Ragged.of(target.tokens for target in targets))
        latents = [unpatchify(own, target, self.patch_size) for own, target in zip(tokens, targets, strict=True)]
        return [picture.clamp(-1, 1).cpu() for picture in self.encoder.codec.decode(latents)]

    def _branches(self, sample: EncodedSample) -> int:
        guidance = self.rollout.sampling.guidance(bool(sample.references))
        return 1 if guidance is None else guidance.num_branches


def cost_of(sample: EncodedSample, patch_size: int, branches: int) -> int:
    """Tokens that a picture takes in the joint blocks: text, references and target, once for each branch."""
    images = (*sample.references, sample.noise)
    return branches * (len(sample.text) + sum(segment(image, patch_size, "target").tokens for image in images))


@torch.no_grad()
def rescored(rollout: Rollout, models: Sequence[VelocityModel], keep_velocities: bool) -> Rollout:
    """The same pictures, with the probabilities that another policy would have drawn them with.

    Args:
        rollout: What was drawn.
        models: The other policy at each step.
        keep_velocities: Whether its velocities are kept too.
    """
    log_probs: list[Tensor] = []
    velocities: list[Tensor] = []
    for _, step in rollout.steps():
        log_probs.append(rollout.score(models[step.index], step).log_prob(step.x_next))
        if keep_velocities:
            velocities.append(models[step.index](step.x_t, step.t.to(step.x_t)))
    return replace(
        rollout,
        trajectory=replace(rollout.trajectory, log_probs=torch.stack(log_probs)),
        velocities=torch.stack(velocities) if keep_velocities else None,
    )


def even_parts(parts: Sequence[range], least: int) -> list[range]:
    """Split consecutive parts, the longest first, until there are at least so many: processes must run as many."""
    found = list(parts)
    while len(found) < least:
        number = max(range(len(found)), key=lambda i: len(found[i]))
        part = found[number]
        middle = part.start + len(part) // 2
        found[number : number + 1] = [range(part.start, middle), range(middle, part.stop)]
    return found
