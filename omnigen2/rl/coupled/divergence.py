"""How far the policy has gone from the reference at one step, in the two ways that are in use."""

from abc import ABC, abstractmethod

from typing_extensions import override

from omnigen2.flow import PerSample, StochasticStep, Transition


class Divergence(ABC):
    """A divergence between two Gaussian steps with the same standard deviation; 0 for equal ones, never negative."""

    @abstractmethod
    def __call__(self, policy: Transition, reference: Transition, step: StochasticStep) -> PerSample:
        """The divergence as a mean over the elements of each sample, shape (samples,).

        Args:
            policy: The step under the policy that is trained.
            reference: The step under the reference policy.
            step: What was drawn; its times say how long the step is.
        """


class ExactKL(Divergence):
    r"""$\mathrm{KL}(\pi, \pi_\text{ref}) = \|\Delta\mu\|^2 / (2 \sigma^2 \Delta t)$, sample by sample.

    Source: Liu et al., Flow-GRPO, arXiv:2505.05470, section 4.1.
    """

    @override
    def __call__(self, policy: Transition, reference: Transition, step: StochasticStep) -> PerSample:
        return policy.kl(reference)


class UnscaledKL(Divergence):
    r"""$\|\Delta\mu\|^2 / (2 \sigma^2)$, sample by sample: the KL without the length of the step in its variance.

    It is the exact one times $\Delta t$, so that the same weight is as much weaker as there are steps. The weights that
    are published, 0.04 among them, belong to this one.

    The RL code of OmniGen2 computes it only where all samples have one noise level (pictures of one size). Otherwise it
    divides a vector by a column and averages: $\|\Delta\mu\|^2$ of each sample times the mean of $1 / (2 \sigma^2)$
    over all samples, so that a sample's weight depends on who else is in its micro-batch.
    Its mean over tokens counts padding as well, so that its number for pictures of different sizes is that of the
    padded ones; here there is no padding, and the number is that of the pictures alone.

    Source: the training scripts of flow_grpo.
    """

    @override
    def __call__(self, policy: Transition, reference: Transition, step: StochasticStep) -> PerSample:
        length = (step.t_next.double() - step.t.double()).to(policy.std.dtype)
        return policy.kl(reference) * length.to(policy.std.device, non_blocking=True)
