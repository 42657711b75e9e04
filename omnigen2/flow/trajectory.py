"""What a sampler went through: every state, and the log-probability of the steps that have one."""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class StochasticStep:
    """One step that was drawn, with everything that is needed to score it again.

    Attributes:
        index: Number of the step in the grid.
        t: Start, shape (samples,), on the host.
        t_next: End, shape (samples,), on the host.
        x_t: State at the start, shape (tokens, *features).
        x_next: State that was drawn.
        log_prob: Its log-probability, mean over the elements of each sample, shape (samples,).
    """

    index: int
    t: Float[Tensor, " samples"]
    t_next: Float[Tensor, " samples"]
    x_t: Float[Tensor, " tokens *features"]
    x_next: Float[Tensor, " tokens *features"]
    log_prob: Float[Tensor, " samples"]


@dataclass(frozen=True, slots=True)
class Trajectory:
    """States along a time grid. `log_probs` has a row for each stochastic step and none for the others.

    A deterministic step has no density; there is no place here where a 0 or a NaN could stand for one.

    Attributes:
        times: Shape (steps + 1, samples), on the host.
        states: Shape (steps + 1, tokens, *features), float32 or wider, starting with the noise.
        log_probs: Mean over the elements of each sample, shape (number of stochastic steps, samples).
        stochastic: Numbers of the stochastic steps, increasing.

    Raises:
        ValueError: If `stochastic` does not number the rows of `log_probs`, or leaves the grid.
    """

    times: Float[Tensor, " points samples"]
    states: Float[Tensor, " points tokens *features"]
    log_probs: Float[Tensor, " stochastic samples"]
    stochastic: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.stochastic) != self.log_probs.shape[0]:
            raise ValueError(
                f"{len(self.stochastic)} stochastic steps {self.stochastic} but {self.log_probs.shape[0]} rows of "
                "log_probs; every stochastic step has one row, a deterministic step none"
            )
        steps = self.times.shape[0] - 1
        if list(self.stochastic) != sorted(set(self.stochastic) & set(range(steps))):
            raise ValueError(f"stochastic steps {self.stochastic} must increase within the grid's {steps} steps")

    @property
    def final(self) -> Float[Tensor, " tokens *features"]:
        """The state at the last time."""
        return self.states[-1]

    def stochastic_steps(self) -> Iterator[StochasticStep]:
        """The steps that were drawn, in order."""
        for row, k in enumerate(self.stochastic):
            yield StochasticStep(
                index=k,
                t=self.times[k],
                t_next=self.times[k + 1],
                x_t=self.states[k],
                x_next=self.states[k + 1],
                log_prob=self.log_probs[row],
            )
