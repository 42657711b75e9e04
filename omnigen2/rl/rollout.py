"""Drawing pictures with a policy, and keeping all that is needed to score them again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.flow import (
    Models,
    NoiseLevel,
    SampleIndex,
    StochasticStep,
    Times,
    TimeShift,
    Trajectory,
    Transition,
    VelocityModel,
    call_model,
    sample_sde,
    time_grid,
    transition,
)
from omnigen2.rl.sampling import offsets

Images: TypeAlias = tuple[Float[Tensor, "channels _ _"], ...]
"""One picture per sample, in [-1, 1]."""
Decoder: TypeAlias = Callable[[Float[Tensor, " tokens *features"]], Images]
"""Makes one picture per sample from the packed tokens of the last state."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Samples that a policy drew. Complete when built: nothing is filled in later, advantages travel beside it.

    Attributes:
        trajectory: States, float32 or wider, and log-probabilities; tokens lie sample behind sample.
        tokens: Number of tokens of each sample, on the host.
        group: Id of each sample's group, as the sampler gave it.
        noise_level: Of the stochastic steps; the loss scores with the same one.
        images: What the last states look like, if they were decoded.
        velocities: The velocity of each stochastic step, if it was kept, shape (stochastic steps, tokens, *features).

    Raises:
        ValueError: If lengths do not agree, or the states are narrower than float32.
    """

    trajectory: Trajectory
    tokens: tuple[int, ...]
    group: tuple[int, ...]
    noise_level: NoiseLevel
    images: Images | None = None
    velocities: Float[Tensor, " stochastic tokens *features"] | None = None

    def __post_init__(self) -> None:
        states, samples = self.trajectory.states, len(self.tokens)
        lengths = (
            self.trajectory.times.shape[1],
            len(self.group),
            samples if self.images is None else len(self.images),
        )
        if lengths != (samples,) * 3 or sum(self.tokens) != states.shape[1]:
            raise ValueError(
                f"a rollout of {samples} samples with {sum(self.tokens)} tokens needs as many times, groups and "
                f"images, got {lengths}, and as many tokens in its states, got {states.shape[1]}"
            )
        if torch.finfo(states.dtype).bits < 32:
            raise ValueError(
                f"states are {states.dtype}; keep them in float32, or the ratio of a policy with itself is not 1"
            )

    @property
    def sample_index(self) -> SampleIndex:
        """The sample of each token, on the device of the states, shape (tokens,)."""
        index = torch.repeat_interleave(torch.arange(len(self.tokens)), torch.tensor(self.tokens, dtype=torch.int64))
        return index.to(self.trajectory.states.device, non_blocking=True)

    def steps(self, trained: Sequence[int] | None = None) -> tuple[tuple[int, StochasticStep], ...]:
        """The steps that were drawn, in order, each behind its row among the stochastic steps.

        Args:
            trained: Numbers of the wanted steps in the grid; all stochastic ones if None.

        Raises:
            ValueError: If a wanted step was not drawn with noise.
        """
        stochastic = self.trajectory.stochastic
        wanted = set(stochastic if trained is None else trained)
        if not wanted <= set(stochastic):
            raise ValueError(
                f"steps {sorted(wanted - set(stochastic))} are to be trained, but only {stochastic} were drawn with "
                "noise; a deterministic step has no log-probability"
            )
        return tuple((row, step) for row, step in enumerate(self.trajectory.stochastic_steps()) if step.index in wanted)

    def score(self, policy: VelocityModel, step: StochasticStep) -> Transition:
        """The step under a policy, with its gradient, in float32 or wider: the same computation as when it was drawn.

        Guidance is in the training if it is in this policy, and the ratio starts at 1 if it was in the one that drew.
        One evaluation on one device gives the same bits every time, but a different batch may not: where the ratio is
        to be *exactly* 1 at first, draw and train the same micro-batches.

        Args:
            policy: The model of this step (a `GuidanceSchedule` gives one per step).
            step: What was drawn.
        """
        t = step.t.to(step.x_t.device, non_blocking=True)
        velocity = call_model(policy, step.x_t, t)
        return transition(step.x_t, velocity, step.t, step.t_next, self.sample_index, self.noise_level)

    def old(self, row: int) -> Transition:
        """The Gaussian that a step was drawn from, by the step's number among the stochastic ones.

        Raises:
            ValueError: If the velocities were not kept.
        """
        if self.velocities is None:
            raise ValueError(
                "this rollout did not keep its velocities; sample it with RolloutSampler(keep_velocities=True)"
            )
        k = self.trajectory.stochastic[row]
        times, x_t = self.trajectory.times, self.trajectory.states[k]
        return transition(x_t, self.velocities[row], times[k], times[k + 1], self.sample_index, self.noise_level)

    def take(self, samples: Sequence[int]) -> "Rollout":
        """A micro-batch: some of the samples, in the wanted order."""
        starts, states, old = offsets(self.tokens), self.trajectory.states, self.velocities
        rows = [token for i in samples for token in range(starts[i], starts[i + 1])]
        index = torch.tensor(rows, dtype=torch.int64).to(states.device, non_blocking=True)
        chosen = torch.tensor(samples, dtype=torch.int64)
        log_probs = self.trajectory.log_probs
        return replace(
            self,
            trajectory=Trajectory(
                times=self.trajectory.times[:, chosen],
                states=states.index_select(1, index),
                log_probs=log_probs.index_select(1, chosen.to(log_probs.device, non_blocking=True)),
                stochastic=self.trajectory.stochastic,
            ),
            tokens=tuple(self.tokens[i] for i in samples),
            group=tuple(self.group[i] for i in samples),
            images=None if self.images is None else tuple(self.images[i] for i in samples),
            velocities=None if old is None else old.index_select(1, index),
        )


class RolloutSampler:
    """Draws rollouts: a time grid, a noise level, and a policy that is any velocity.

    Args:
        shift: The shift the model was trained with.
        noise_level: Of the stochastic steps.
        steps: Of the time grid, at least 1. The official RL configuration has 20.
        keep_velocities: Keep the velocities of the stochastic steps, which `NormalizedRatio` needs. They take as much
            memory as the states.
    """

    def __init__(
        self, shift: TimeShift, noise_level: NoiseLevel, steps: int = 20, keep_velocities: bool = False
    ) -> None:
        self.shift = shift
        self.noise_level = noise_level
        self.steps = steps
        self.keep_velocities = keep_velocities

    @torch.no_grad()
    def __call__(
        self,
        policy: Models,
        noise: Float[Tensor, " tokens *features"],
        tokens: Sequence[int],
        group: Sequence[int],
        generator: torch.Generator,
        window: range | None = None,
        decode: Decoder | None = None,
        begun: Float[Tensor, " begun tokens *features"] | None = None,
    ) -> Rollout:
        """Draw one rollout, without gradients.

        Args:
            policy: The velocity, or one per step: guided or plain, with the condition of all samples bound. The K
                samples of a prompt are K samples to it.
            noise: Starting states, sample behind sample, shape (tokens, *features): see `member_noise`.
            tokens: Number of target tokens of each sample.
            group: Id of each sample's group.
            generator: Source of the steps' noise, drawn on its own device.
            window: The stochastic steps; None: all.
            decode: Makes the pictures; None: the rollout has none.
            begun: The states of these samples up to the first stochastic step or before it, if they were drawn
                (`prefix`), shape (steps done + 1, tokens, *features), the noise first.

        Raises:
            ValueError: If lengths do not agree, or the window leaves the grid or the steps that are not yet done.
        """
        times, index = self._grid(noise, tokens)
        models = tuple(policy) if isinstance(policy, Sequence) else (policy,) * self.steps
        kept: list[Tensor] = []
        if self.keep_velocities:
            drawn = range(self.steps) if window is None else window
            models = tuple(_recorded(m, kept) if k in drawn else m for k, m in enumerate(models))
        walk = self._walk(models, noise[None] if begun is None else begun, times, index, generator, window)
        return Rollout(
            trajectory=walk,
            tokens=tuple(tokens),
            group=tuple(group),
            noise_level=self.noise_level,
            images=None if decode is None else decode(walk.final),
            velocities=walk.states.new_empty((0, *noise.shape)) if self.keep_velocities and not kept else _stack(kept),
        )

    @torch.no_grad()
    def prefix(
        self, policy: Models, noise: Float[Tensor, " tokens *features"], tokens: Sequence[int], steps: int
    ) -> Float[Tensor, " begun tokens *features"]:
        """The first steps, without noise: what samples that start from one noise share up to their stochastic steps.

        They are the Euler steps that drawing takes outside of its window, so that a rollout that goes on from them has
        the same numbers as one of its own, as far as a model computes a sample's velocity alike in any batch.

        Args:
            policy: The velocity, or one per step of the whole grid.
            noise: Starting states, one for each that is shared, shape (tokens, *features).
            tokens: Number of target tokens of each.
            steps: So many, at least 0.

        Returns:
            All states, the noise first, shape (steps + 1, tokens, *features): repeat a sample's for all that share it.

        Raises:
            ValueError: If lengths do not agree.
        """
        times, index = self._grid(noise, tokens)
        if steps == 0:
            return noise[None]
        models = (tuple(policy) if isinstance(policy, Sequence) else (policy,) * self.steps)[:steps]
        unused = torch.Generator()
        return sample_sde(models, noise, times[: steps + 1], index, self.noise_level, unused, range(0)).states

    def _grid(self, noise: Tensor, tokens: Sequence[int]) -> tuple[Times, SampleIndex]:
        """The times on the host, and the sample of each token.

        Raises:
            ValueError: If lengths do not agree.
        """
        if sum(tokens) != noise.shape[0]:
            raise ValueError(
                f"tokens {list(tokens)} add up to {sum(tokens)}, but there are {noise.shape[0]} tokens of noise"
            )
        index = torch.repeat_interleave(torch.arange(len(tokens)), torch.tensor(tokens, dtype=torch.int64))
        return time_grid(self.steps, self.shift, tokens), index.to(noise.device, non_blocking=True)

    def _walk(
        self,
        models: tuple[VelocityModel, ...],
        begun: Float[Tensor, " begun tokens *features"],
        times: Times,
        index: SampleIndex,
        generator: torch.Generator,
        window: range | None,
    ) -> Trajectory:
        """The trajectory from what is begun to the end of the grid.

        Raises:
            ValueError: If a stochastic step is done already.
        """
        done, window = len(begun) - 1, range(self.steps) if window is None else window
        if any(k < done for k in window):
            raise ValueError(
                f"{done} steps are drawn already, and step {min(window)} is to be stochastic; begin with fewer"
            )
        left = range(window.start - done, window.stop - done, window.step)
        walk = sample_sde(models[done:], begun[-1], times[done:], index, self.noise_level, generator, left)
        if not done:
            return walk
        stochastic = tuple(k + done for k in walk.stochastic)
        return Trajectory(times, torch.cat((begun[:-1].to(walk.states.dtype), walk.states)), walk.log_probs, stochastic)


def _recorded(model: VelocityModel, kept: list[Tensor]) -> VelocityModel:
    """The same model, which puts its velocities aside as the sampler sees them."""

    def recorded(
        x_t: Float[Tensor, " tokens *features"], t: Float[Tensor, " samples"], /
    ) -> Float[Tensor, " tokens *features"]:
        kept.append(call_model(model, x_t, t))
        return kept[-1]

    return recorded


def _stack(kept: list[Tensor]) -> Tensor | None:
    return torch.stack(kept) if kept else None
