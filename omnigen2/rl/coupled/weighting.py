"""How much each trained step counts in the policy loss."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

from omnigen2.flow import NoiseLevel, Times

StepWeights: TypeAlias = Float[Tensor, "trained samples"]
"""A weight for each trained step of each sample, float32 on the host."""


class StepWeighting(ABC):
    """A choice of weights. Those of ours average 1 over the trained steps of each sample."""

    @abstractmethod
    def __call__(self, times: Times, trained: Sequence[int], noise_level: NoiseLevel) -> StepWeights:
        """The weights.

        Args:
            times: The grid, on the host, shape (steps + 1, samples).
            trained: Numbers of the trained steps.
            noise_level: Of the rollout.

        Returns:
            Positive, shape (trained, samples).
        """
        ...


class EqualSteps(StepWeighting):
    """Every step counts the same, as in Flow-GRPO."""

    def __call__(self, times: Times, trained: Sequence[int], noise_level: NoiseLevel) -> StepWeights:
        """1."""
        del noise_level
        return times.new_ones((len(trained), times.shape[1]))


class NoiseScaled(StepWeighting):
    r"""In proportion to $\sigma \sqrt{\Delta t}$, the standard deviation of the step.

    The gradient of the log-probability grows with the inverse of it, so that without weights the last steps, which can
    change least, pull hardest.

    Source: He et al., TempFlow-GRPO, arXiv:2508.04324; version 1 of `policy_loss_reweighting` in the OmniGen2-RL code,
    which takes the schedule of its first sample for all: `OfficialNoiseScaled`.
    """

    def __call__(self, times: Times, trained: Sequence[int], noise_level: NoiseLevel) -> StepWeights:
        """The standard deviation over its mean."""
        std = _std(times, trained, noise_level)
        return (std / std.mean(0)).float()


class OfficialNoiseScaled(StepWeighting):
    """What the RL code of OmniGen2 does: the schedule of sample 0 for all samples, and all times the number of steps.

    For comparisons with the official code: a sample's weights depend on which sample comes first, and the factor is
    one on the learning rate of the policy loss (and not of the KL).

    Source: examples/OmniGen2-RL/train.py of the EditScore repository, `policy_loss_reweighting: v1`.
    """

    def __call__(self, times: Times, trained: Sequence[int], noise_level: NoiseLevel) -> StepWeights:
        """The weights of sample 0."""
        weights = NoiseScaled()(times[:, :1], trained, noise_level)
        return (len(trained) * weights).expand(-1, times.shape[1])


class InverseLength(StepWeighting):
    r"""In proportion to $1 / \Delta t$, to go with `NormalizedRatio`: its gradient is proportional to $\Delta t$.

    The paper divides by the length itself, which is the same up to one factor for all steps of a sample.

    Source: Wang et al., GRPO-Guard, arXiv:2510.22319, section 4.
    """

    def __call__(self, times: Times, trained: Sequence[int], noise_level: NoiseLevel) -> StepWeights:
        """One over the length, over its mean."""
        del noise_level
        inverse = 1 / times.double().diff(dim=0)[list(trained)]
        return (inverse / inverse.mean(0)).float()


def _std(times: Times, trained: Sequence[int], noise_level: NoiseLevel) -> Float[Tensor, "trained samples"]:
    """Standard deviation of each trained step, in float64."""
    exact = times.double()
    start, end = exact[list(trained)], exact[[k + 1 for k in trained]]
    levels = noise_level(start.flatten(), end.flatten()).unflatten(0, start.shape)
    return levels * (end - start).sqrt()
