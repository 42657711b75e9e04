"""How much each trained step counts in the policy loss."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from omnigen2.flow import NoiseLevel, Times

StepWeights: TypeAlias = Float[Tensor, "trained samples"]
"""A weight for each trained step of each sample, float32 on the host."""


class StepWeighting(ABC):
    """A choice of weights. Those of ours average 1 over the trained steps of each sample."""

    @abstractmethod
    def __call__(self, times: Times, trained: Sequence[int], noise_level: NoiseLevel) -> StepWeights:
        """The weights, positive, shape (trained, samples).

        Args:
            times: The grid, on the host, shape (steps + 1, samples).
            trained: Numbers of the trained steps.
            noise_level: Of the rollout.
        """


class EqualSteps(StepWeighting):
    """Every step counts the same, as in Flow-GRPO."""

    @override
    def __call__(self, times: Times, trained: Sequence[int], noise_level: NoiseLevel) -> StepWeights:
        return times.new_ones((len(trained), times.shape[1]))


class NoiseScaled(StepWeighting):
    r"""In proportion to $\sigma \sqrt{\Delta t}$, the standard deviation of the step.

    The gradient of the log-probability grows with the inverse of it, so that without weights the last steps, which can
    change least, pull hardest. The OmniGen2-RL code (`policy_loss_reweighting: v1`) takes the schedule of its first
    sample for all, and multiplies by the number of steps: a factor on the learning rate of the policy loss.

    Source: He et al., TempFlow-GRPO, arXiv:2508.04324.
    """

    @override
    def __call__(self, times: Times, trained: Sequence[int], noise_level: NoiseLevel) -> StepWeights:
        exact = times.double()
        start, end = exact[list(trained)], exact[[k + 1 for k in trained]]
        levels = noise_level(start.flatten(), end.flatten()).unflatten(0, start.shape)
        std = levels * (end - start).sqrt()
        return (std / std.mean(0)).float()


class InverseLength(StepWeighting):
    r"""In proportion to $1 / \Delta t$, to go with `NormalizedRatio`: its gradient is proportional to $\Delta t$.

    The paper divides by the length itself, which is the same up to one factor for all steps of a sample.

    Source: Wang et al., GRPO-Guard, arXiv:2510.22319, section 4.
    """

    @override
    def __call__(self, times: Times, trained: Sequence[int], noise_level: NoiseLevel) -> StepWeights:
        inverse = 1 / times.double().diff(dim=0)[list(trained)]
        return (inverse / inverse.mean(0)).float()
