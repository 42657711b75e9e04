"""One iteration's pictures: drawn in parts of a token budget, sent to the rewards while the next part is drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.data.batches import Example, Pixels
from omnigen2.generate import EncodedSample
from omnigen2.rl import Failure, Member, RolloutSampler, Steps, member_noise
from omnigen2.runner.keep import of_all_processes
from omnigen2.training.alignment.collectives import on_all_processes
from omnigen2.training.alignment.policy import MicroBatch, Policy, cost_of, rescored
from omnigen2.training.alignment.scoring import Pending, Scored, Scorer, request_of

States: TypeAlias = Float[Tensor, "points tokens patch_channels"]


@dataclass(frozen=True)
class IterationPlan:
    """What one process draws in an iteration: a function of the seed, the number of the iteration and the rank.

    Attributes:
        number: Of the iteration, counted from 0.
        members: The pictures to be drawn.
        prompts: What they are drawn for, by number.
        steps: Which are drawn with noise, and which of those are trained.
        noise: Makes the generator of the steps' noise of each part.
        unreadable: Why nobody is asked about the pictures of a prompt, by its number.
    """

    number: int
    members: tuple[Member, ...]
    prompts: Mapping[int, Example]
    steps: Steps
    noise: Callable[[int], torch.Generator]
    unreadable: Mapping[int, Failure] = field(default_factory=dict[int, Failure])

    @property
    def groups(self) -> list[int]:
        """The group of each picture."""
        return [member.group for member in self.members]


@dataclass(frozen=True)
class DrawnPictures:
    """The pictures of one process, in the order of the plan's members.

    Attributes:
        updates: What each update learns from, in parts that were drawn together.
        scored: The scores of all.
        prompts: What each was drawn for.
        pictures: In [-1, 1], on the host.
        tokens: Of all their joint samples, without the branches of guidance.
        waited: Seconds spent on scoring.
    """

    updates: list[list[MicroBatch]]
    scored: Scored
    prompts: list[Example]
    pictures: list[Pixels]
    tokens: int
    waited: float


@dataclass(frozen=True)
class RolloutWorker:
    """Draws pictures with the policy, and has them scored."""

    policy: Policy
    scorer: Scorer

    @torch.no_grad()
    def draw(self, plan: IterationPlan) -> DrawnPictures:
        """Draw and score the pictures of an iteration; every process must call it."""
        policy, prompts = self.policy, plan.prompts
        encoded = dict(zip(prompts, policy.encoder.samples(list(prompts.values())), strict=True))
        samples = tuple(encoded[member.prompt] for member in plan.members)
        examples = [prompts[member.prompt] for member in plan.members]
        updates: list[list[MicroBatch]] = []
        pending: list[Pending] = []
        pictures: list[Pixels] = []
        waited, number = 0.0, 0
        begun = self._begun(plan, encoded)
        with self.scorer.session() as submit:
            for share in shares(len(samples), policy.update.updates):
                updates.append([])
                for part in policy.parts([samples[share.start : share.stop]], policy.rollout.tokens, guided=True):
                    places = tuple(range(share.start + part.start, share.start + part.stop))
                    batch, images = self._drawn(
                        plan, places, samples[places[0] : places[-1] + 1], plan.noise(number), begun
                    )
                    updates[-1].append(batch)
                    began = perf_counter()
                    requests = [
                        plan.unreadable.get(plan.members[i].prompt)
                        or request_of(examples[i], image, f"{examples[i].key} of iteration {plan.number}")
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
        tokens = sum(cost_of(sample, policy.patch_size, 1) for sample in samples)
        return DrawnPictures(updates, scored, examples, pictures, tokens, waited)

    def _drawn(
        self,
        plan: IterationPlan,
        places: tuple[int, ...],
        samples: tuple[EncodedSample, ...],
        generator: torch.Generator,
        begun: Mapping[int, States],
    ) -> tuple[MicroBatch, list[Pixels]]:
        """The pictures of one part."""
        policy = self.policy
        keep_velocities = policy.update.needs_velocities
        members = [plan.members[place] for place in places]
        noise, sizes = self._noise(members, samples)
        groups = [member.group for member in members]
        models = policy.models(samples, guided=True, keep=True)
        states = torch.cat([begun[group] for group in groups], dim=1) if begun else None
        rollout = self._sampler(keep_velocities)(
            models, noise, sizes, groups, generator, plan.steps.stochastic, begun=states
        )
        images = policy.decoded(samples, rollout.trajectory.final)
        if not policy.rollout.guided_policy:
            rollout = rescored(rollout, policy.models(samples, guided=False, keep=True), keep_velocities)
        return MicroBatch(places, samples, rollout), images

    def _begun(self, plan: IterationPlan, encoded: Mapping[int, EncodedSample]) -> dict[int, States]:
        """The states that the pictures of each group share, up to the first stochastic step; empty if none."""
        policy, steps = self.policy, plan.steps.stochastic.start
        if policy.rollout.noise == "member" or steps == 0:
            return {}
        roots = list({member.group: member for member in plan.members}.values())
        most = max(other["roots"] for other in of_all_processes({"roots": len(roots)}))
        asked = [*roots, *roots[-1:] * (most - len(roots))]  # as many on every process, which draw together
        samples = tuple(encoded[member.prompt] for member in asked)
        found: dict[int, States] = {}
        for part in policy.parts([samples], policy.rollout.tokens, guided=True):
            members, own = asked[part.start : part.stop], samples[part.start : part.stop]
            noise, sizes = self._noise(members, own)
            models = policy.models(own, guided=True, keep=True)
            states = self._sampler(False).prefix(models, noise, sizes, steps)
            found |= zip([member.group for member in members], states.split(sizes, dim=1), strict=True)
        return found

    def _noise(self, members: Sequence[Member], samples: Sequence[EncodedSample]) -> tuple[Tensor, list[int]]:
        """What some pictures start from, shape (tokens, patch_channels), and the tokens of each."""
        sizes = [target.tokens for target in self.policy.targets(samples)]
        noise = member_noise(members, sizes, (self.policy.dit.config.patch_channels,))
        return noise.to(self.policy.device), sizes

    def _sampler(self, keep_velocities: bool) -> RolloutSampler:
        settings = self.policy.rollout
        return RolloutSampler(settings.shift, settings.noise_level, settings.sampling.steps, keep_velocities)


def shares(members: int, updates: int) -> list[range]:
    """The consecutive share of each update, none empty, sizes differing by at most 1."""
    borders = [number * members // updates for number in range(updates + 1)]
    return [range(start, stop) for start, stop in zip(borders, borders[1:], strict=False)]
