"""The updates of an iteration: the policy learns from pictures that were drawn and compared."""

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from omnigen2.adapters import adapters_disabled
from omnigen2.dit import DiffusionTransformer
from omnigen2.flow import StochasticStep, Transition
from omnigen2.rl import Steps
from omnigen2.shards import local_part
from omnigen2.training.alignment.metrics import UpdateMeter
from omnigen2.training.alignment.policy import MicroBatch, Policy
from omnigen2.training.flow_matching import FlowModel


@dataclass(frozen=True)
class Learner:
    """Makes pictures that are better than others of their group more likely.

    Attributes:
        module: Has the optimizer and the schedule, and makes the gradients.
        policy: Learns.
        frozen: The start weights, for a KL; None where they are the policy without its adapters, or there is no KL.
    """

    module: LightningModule
    policy: Policy
    frozen: DiffusionTransformer | None

    def learn(self, drawn: Sequence[Sequence[MicroBatch]], advantages: Tensor, steps: Steps) -> UpdateMeter:
        """All updates of an iteration.

        Args:
            drawn: The pictures of each update, in parts that were drawn together.
            advantages: Of all pictures of this process, shape (members,).
            steps: Which are trained.
        """
        meter, module = UpdateMeter(), self.module
        optimizer, schedule = cast(Any, module.optimizers()), cast(Any, module.lr_schedulers())
        for number, parts in enumerate(drawn):
            optimizer.zero_grad()
            # gradients are averaged over processes, so the sum is divided by the pictures of this one
            count = len(steps.trained) * sum(len(part.members) for part in parts)
            for whole in self._micro_batches(parts):
                batch = self._taught(whole, advantages)
                self._accumulate(batch, advantages[list(batch.members)], steps.trained, count, meter, number)
            meter.add_norm(self._clipped())
            optimizer.step()
            schedule.step()
            torch.clear_autocast_cache()  # it has casts of the weights before this step
        return meter

    def _micro_batches(self, parts: Sequence[MicroBatch]) -> list[MicroBatch]:
        """What one backward pass is made of, as many on every process."""
        policy = self.policy
        if policy.update.tokens is None:
            return list(parts)
        starts = list(accumulate((len(part.members) for part in parts[:-1]), initial=0))
        found: list[MicroBatch] = []
        lists = [part.samples for part in parts]
        for cut in policy.parts(lists, policy.update.tokens, guided=policy.rollout.guided_policy):
            number = bisect_right(starts, cut.start) - 1
            found.append(parts[number].take(range(cut.start - starts[number], cut.stop - starts[number])))
        return found

    def _taught(self, batch: MicroBatch, advantages: Tensor) -> MicroBatch:
        """What of a batch has a gradient; one picture if nothing has, since all processes compute one."""
        update = self.policy.update
        if not update.skip_equal or update.objective.kl_weight > 0:
            return batch
        own = advantages[list(batch.members)].tolist()
        taught = [place for place, advantage in enumerate(own) if advantage != 0] or [0]
        return batch if len(taught) == len(own) else batch.take(taught)

    def _accumulate(
        self, batch: MicroBatch, advantages: Tensor, trained: Sequence[int], count: int, meter: UpdateMeter, number: int
    ) -> None:
        """Add the gradient of one micro-batch, step by step."""
        rollout, policy, update = batch.rollout, self.policy, self.policy.update
        weights = update.step_weights(rollout.trajectory.times, trained, rollout.noise_level)
        models = policy.models(batch.samples, policy.rollout.guided_policy, keep=False)
        for place, (row, step) in enumerate(rollout.steps(trained)):
            loss = update.objective(
                rollout.score(models[step.index], step),
                step,
                advantages,
                weights[place],
                self._reference_step(batch, step),
                rollout.old(row) if update.needs_velocities else None,
                count,
            )
            meter.add(loss, number)
            self.module.manual_backward(loss.loss)

    @torch.no_grad()
    def _reference_step(self, batch: MicroBatch, step: StochasticStep) -> Transition | None:
        """The step under the start weights; None without a KL."""
        policy = self.policy
        if policy.update.objective.kl_weight == 0:
            return None
        dtype = policy.dit.target_embedder.weight.dtype  # that which a trainer's precision has given the policy
        dit = None if self.frozen is None else self.frozen.to(self.module.device, dtype)
        with nullcontext() if dit is not None else adapters_disabled(policy.dit):
            models = policy.models(batch.samples, policy.rollout.guided_policy, keep=False, dit=dit)
            return batch.rollout.score(models[step.index], step)

    def _clipped(self) -> Tensor:
        """Clip the gradients; their norm before."""
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.policy.update.max_norm)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm


def frozen_copy(module: FlowModel) -> DiffusionTransformer:
    """Another transformer with the weights that one has just got, sharded in the same way; nothing in it is trained.

    FSDP2 does not copy its modules: where it shards, the transformer is built once more.
    """
    if not isinstance(module.dit, FSDPModule):
        return deepcopy(module.dit).requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        copy = module.placed(module.part.build(module.weights, module.adapter))
    for mine, its in zip(module.dit.parameters(), copy.parameters(), strict=True):
        local_part(its).copy_(local_part(mine))
    return copy.requires_grad_(False)
