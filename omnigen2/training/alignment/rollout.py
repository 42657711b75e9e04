"""One iteration's pictures: drawn in parts of a token budget, sent to the rewards while the next part is drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import torch

from omnigen2.data.batches import Example, Pixels
from omnigen2.dit import DiffusionTransformer, segment
from omnigen2.flow import VelocityModel
from omnigen2.generate import EncodedSample
from omnigen2.rl import Member, Rollout, RolloutSampler, Steps, member_noise, micro_batches
from omnigen2.runner.keep import of_all_processes
from omnigen2.training.alignment.parts import RolloutPart, UpdatePart
from omnigen2.training.alignment.policy import (
    Drawn,
    branches_of,
    cost_of,
    decoder,
    encode_prompts,
    even_parts,
    models_of,
    rescored,
)
from omnigen2.training.alignment.scoring import Pending, Scored, Scorer, request_of
from omnigen2.training.alignment.together import on_all_processes
from omnigen2.training.flow_matching import BatchEncoder, SettingsError


@dataclass(frozen=True)
class Iteration:
    """The pictures of one process.

    Attributes:
        drawn: Those of each update, in parts that were drawn together.
        scored: The scores of all, in the order of the members.
        prompts: What each was drawn for.
        pictures: In [-1, 1], on the host.
        tokens: Of all their joint samples, without the branches of guidance.
        waited: Seconds spent on scoring.
    """

    drawn: list[list[Drawn]]
    scored: Scored
    prompts: list[Example]
    pictures: list[Pixels]
    tokens: int
    waited: float


@dataclass(frozen=True)
class Studio:
    """Draws pictures with the policy.

    Attributes:
        dit: The policy.
        encoder: The frozen encoders.
        rollout: How pictures are drawn.
        update: How the policy learns from them.
        companion: Whether other processes train along; see `GroupBranches`.
    """

    dit: DiffusionTransformer
    encoder: BatchEncoder
    rollout: RolloutPart
    update: UpdatePart
    companion: bool

    @torch.no_grad()
    def draw(
        self,
        members: Sequence[Member],
        prompts: Mapping[int, Example],
        steps: Steps,
        noise: Callable[[int], torch.Generator],
        scorer: Scorer,
        name: str,
    ) -> Iteration:
        """Draw and score the pictures of an iteration.

        Args:
            members: Those of this process.
            prompts: By their numbers.
            steps: Which are drawn with noise.
            noise: Makes the generator of the steps' noise of each part.
            scorer: Scores them.
            name: Of the iteration, in messages.

        Returns:
            The pictures and their scores.
        """
        encoded = dict(zip(prompts, encode_prompts(self.encoder, list(prompts.values())), strict=True))
        samples = [encoded[member.prompt] for member in members]
        examples = [prompts[member.prompt] for member in members]
        drawn: list[list[Drawn]] = []
        pending: list[Pending] = []
        pictures: list[Pixels] = []
        waited, number = 0.0, 0
        with scorer.session() as submit:
            for chunk in shares(len(members), self.update.updates):
                drawn.append([])
                for part in self.parts([samples[chunk.start : chunk.stop]], self.rollout.tokens, guided=True):
                    places = range(chunk.start + part.start, chunk.start + part.stop)
                    own = tuple(samples[i] for i in places)
                    rollout, images = self._together([members[i] for i in places], own, steps, noise(number))
                    drawn[-1].append(Drawn(tuple(places), own, rollout))
                    began = perf_counter()
                    requests = [
                        request_of(examples[i], image, f"{examples[i].key} of {name}")
                        for i, image in zip(places, images, strict=True)
                    ]
                    pending.append(submit(requests, [examples[i].task for i in places]))
                    waited += perf_counter() - began
                    pictures += images
                    number += 1
            began = perf_counter()
            scored = on_all_processes(lambda: Scored.joined([wait() for wait in pending]))
            waited += perf_counter() - began
        torch.clear_autocast_cache()  # it has casts of weights that were made without gradients
        tokens = sum(cost_of(sample, self.dit.config.patch_size, 1) for sample in samples)
        return Iteration(drawn, scored, examples, pictures, tokens, waited)

    def parts(self, lists: Sequence[Sequence[EncodedSample]], tokens: int, guided: bool) -> list[range]:
        """Cut samples into parts of a token budget, as many on every process.

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
            costs: list[int] = []
            for sample in samples:
                branches = branches_of(self.rollout.sampling, bool(sample.references)) if guided else 1
                costs.append(cost_of(sample, self.dit.config.patch_size, branches))
            if max(costs, default=0) > tokens:
                raise SettingsError(
                    f"a picture takes {max(costs)} tokens with its text, references and branches of guidance, and "
                    f"{tokens} may be computed together; raise rollout.tokens and update.tokens of "
                    "model.init_args.alignment, or draw smaller pictures"
                )
            first = parts[-1].stop if parts else 0
            parts += [range(first + cut.start, first + cut.stop) for cut in micro_batches(costs, tokens)]
        return even_parts(parts, max(other["parts"] for other in of_all_processes({"parts": len(parts)})))

    def models(
        self, samples: tuple[EncodedSample, ...], guided: bool, keep: bool, dit: DiffusionTransformer | None = None
    ) -> tuple[VelocityModel, ...]:
        """The policy at each step.

        Args:
            samples: The batch.
            guided: Whether with guidance.
            keep: See `GroupBranches`.
            dit: Another transformer than the policy's.

        Returns:
            One velocity per step.
        """
        sampling = self.rollout.sampling
        return models_of(
            self.dit if dit is None else dit,
            samples,
            sampling if guided else None,
            sampling.steps,
            keep,
            self.companion,
        )

    def _together(
        self, members: Sequence[Member], samples: tuple[EncodedSample, ...], steps: Steps, generator: torch.Generator
    ) -> tuple[Rollout, list[Pixels]]:
        config, part, keep_velocities = self.dit.config, self.rollout, self.update.needs_velocities
        tokens = [segment(sample.noise, config.patch_size, "target").tokens for sample in samples]
        sampler = RolloutSampler(part.shift, part.noise_level, part.sampling.steps, keep_velocities)
        noise = member_noise(members, tokens, (config.patch_channels,)).to(self.dit.target_embedder.weight.device)
        groups = [member.group for member in members]
        models = self.models(samples, guided=True, keep=True)
        rollout = sampler(models, noise, tokens, groups, generator, steps.stochastic)
        images = decoder(self.encoder, samples)(rollout.trajectory.final)
        if not part.guided_policy:
            rollout = rescored(rollout, self.models(samples, guided=False, keep=True), keep_velocities)
        return rollout, list(images)


def shares(members: int, updates: int) -> list[range]:
    """The consecutive share of each update, sizes differing by at most 1.

    Args:
        members: At least as many as updates.
        updates: At least 1.

    Returns:
        One for each update.
    """
    borders = [number * members // updates for number in range(updates + 1)]
    return [range(start, stop) for start, stop in zip(borders, borders[1:], strict=False)]
