"""How much likelier a step has become: the logarithm of the importance ratio, sample by sample."""

from abc import ABC, abstractmethod

from typing_extensions import override

from omnigen2.flow import PerSample, StochasticStep, Transition, mean_per_sample


class RatioRule(ABC):
    """A rule for the log-ratio. It is exactly 0 for the policy that drew the step."""

    @abstractmethod
    def log_ratio(self, policy: Transition, step: StochasticStep, old: Transition | None) -> PerSample:
        """The logarithm of the ratio, shape (samples,), float32 or wider.

        Args:
            policy: The step under the policy that is trained.
            step: What was drawn, and its log-probability then.
            old: The step under the policy that drew it, if the rule needs it (`Rollout.old`).

        Raises:
            ValueError: If the rule needs `old` and got None.
        """


class LikelihoodRatio(RatioRule):
    r"""The ratio of densities, as a mean over elements: $\log \pi(x') - \log \pi_\text{old}(x')$ per element.

    The mean makes the ratio, and so a clip range for it, independent of the size of the picture; the true ratio of the
    densities of the whole state is its power by the number of elements. This is why clip ranges are as small as 1e-4.

    Source: Liu et al., Flow-GRPO, arXiv:2505.05470, section 4.1; the mean is in the official codes, not in the paper.
    """

    @override
    def log_ratio(self, policy: Transition, step: StochasticStep, old: Transition | None) -> PerSample:
        return policy.log_prob(step.x_next) - step.log_prob


class NormalizedRatio(RatioRule):
    r"""The log-ratio of GRPO-Guard: centred, and of one size at all steps.

    The log-ratio of a Gaussian step has, under the old policy, the mean $-\|\Delta\mu\|^2 / 2 s^2$ and the standard
    deviation $\|\Delta\mu\| / s$, where s is the step's own standard deviation: it is below 0 on average, so the
    upper clip hardly ever binds, and far larger at steps of little noise. Adding the first and multiplying by s leaves
    $\epsilon \cdot \Delta\mu$, with the standard normal noise $\epsilon$ that was drawn; here as a mean over elements.
    That product is what is computed, so nothing cancels.

    The paper also divides the loss by the length of the step: `InverseLength`.

    Source: Wang et al., GRPO-Guard, arXiv:2510.22319, eq. 8.
    """

    @override
    def log_ratio(self, policy: Transition, step: StochasticStep, old: Transition | None) -> PerSample:
        if old is None:
            raise ValueError(
                "NormalizedRatio needs the step under the old policy, got None; keep the velocities when sampling "
                "(RolloutSampler(keep_velocities=True)) and pass Rollout.old(row)"
            )
        products = (step.x_next.to(old.mean.dtype) - old.mean) * (policy.mean - old.mean)
        return mean_per_sample(products, old.sample_index, old.std.shape[0]) / old.std
