"""How far the policy has gone from the reference at one step, in the three ways that are in use."""

from abc import ABC, abstractmethod

from omnigen2.flow import PerSample, StochasticStep, Transition, mean_per_sample


class Divergence(ABC):
    """A divergence between two Gaussian steps with the same standard deviation; 0 for equal ones, never negative."""

    @abstractmethod
    def __call__(self, policy: Transition, reference: Transition, step: StochasticStep) -> PerSample:
        """The divergence, as a mean over the elements of each sample.

        Args:
            policy: The step under the policy that is trained.
            reference: The step under the reference policy.
            step: What was drawn; its times say how long the step is.

        Returns:
            Shape (samples,).
        """
        ...


class ExactKL(Divergence):
    r"""$\mathrm{KL}(\pi, \pi_\text{ref}) = \|\Delta\mu\|^2 / (2 \sigma^2 \Delta t)$, sample by sample.

    Source: Liu et al., Flow-GRPO, arXiv:2505.05470, section 4.1.
    """

    def __call__(self, policy: Transition, reference: Transition, step: StochasticStep) -> PerSample:
        """The divergence."""
        del step
        return policy.kl(reference)


class UnscaledKL(Divergence):
    r"""$\|\Delta\mu\|^2 / (2 \sigma^2)$, sample by sample: the KL without the length of the step in its variance.

    It is the exact one times $\Delta t$, so that the same weight is as much weaker as there are steps. The weights that
    are published, 0.04 among them, belong to this one.

    Source: the training scripts of flow_grpo.
    """

    def __call__(self, policy: Transition, reference: Transition, step: StochasticStep) -> PerSample:
        """The divergence."""
        return policy.kl(reference) * _length(step, policy)


class MixedKL(Divergence):
    r"""$\|\Delta\mu\|^2$ of each sample times the mean of $1 / (2 \sigma^2)$ over all samples.

    What the RL code of OmniGen2 computes: it divides a vector by a column, and averages the square that comes of it.
    With one noise level for all samples (pictures of one size) it is `UnscaledKL`; otherwise the weight of a sample
    depends on who else is in its micro-batch. For comparisons with the official code alone.

    Source: examples/OmniGen2-RL/train.py of the EditScore repository.
    """

    def __call__(self, policy: Transition, reference: Transition, step: StochasticStep) -> PerSample:
        """The divergence; its mean is the official number."""
        squares = (policy.mean - reference.mean).square()
        variance = policy.std.square() / _length(step, policy)
        return mean_per_sample(squares, policy.sample_index, policy.std.shape[0]) * (1 / (2 * variance)).mean()


def _length(step: StochasticStep, like: Transition) -> PerSample:
    """Length of the step of each sample, in the dtype and on the device of the transition."""
    length = step.t_next.double() - step.t.double()
    return length.to(like.std.dtype).to(like.std.device, non_blocking=True)
