"""Which steps of a rollout are drawn with noise, and which of those are trained."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from typing_extensions import override

from omnigen2.rl.sampling import permutation, stable_seed


class Steps(NamedTuple):
    """The steps of one iteration.

    Attributes:
        stochastic: Those drawn with noise: the `window` of `sample_sde`. The others follow the ODE.
        trained: Those that the loss looks at, increasing, all of them stochastic.
    """

    stochastic: range
    trained: tuple[int, ...]


class StepSelection(ABC):
    """A choice of steps: a function of the iteration, so that all ranks and micro-batches train the same ones."""

    @abstractmethod
    def __call__(self, steps: int, iteration: int) -> Steps:
        """The steps of one iteration, at least one of them trained.

        Args:
            steps: Number of steps of the grid.
            iteration: Counted from 0.

        Raises:
            ValueError: If the grid has too few steps.
        """


@dataclass(frozen=True, slots=True)
class RandomSteps(StepSelection):
    """All steps but some at the ends are stochastic, and a share of all steps, chosen at random, is trained.

    The defaults are the official RL configuration: noise at every step, 60 % of them trained. The official code
    chooses anew in every micro-batch and rank; here one choice holds for the whole iteration. With `FlowGRPONoise` the
    first steps from t = 0 put too much variance into the state (see there): leave out a few with `skip_first`.

    Source: train.py of the OmniGen2-RL code (`train_timesteps_fraction`).

    Attributes:
        share: Of all steps of the grid, in (0, 1]; the number of trained steps is rounded up.
        skip_first: Number of first steps that follow the ODE, not negative.
        skip_last: Number of last steps that follow the ODE, not negative.
        seed: Of the choice.

    Raises:
        ValueError: If a number is out of range.
    """

    share: float = 0.6
    skip_first: int = 0
    skip_last: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _check_at_least("RandomSteps", 0, skip_first=self.skip_first, skip_last=self.skip_last, seed=self.seed)
        if not 0 < self.share <= 1:
            raise ValueError(f"RandomSteps needs a share of the steps in (0, 1], got {self.share}")

    @override
    def __call__(self, steps: int, iteration: int) -> Steps:
        window = range(self.skip_first, steps - self.skip_last)
        count = ceil(self.share * steps)
        if not 1 <= count <= len(window):
            raise ValueError(
                f"{count} of {steps} steps are to be trained (share {self.share}), but only {len(window)} are "
                f"stochastic (skip_first {self.skip_first}, skip_last {self.skip_last}); lower the share or skip fewer"
            )
        order = permutation(len(window), stable_seed("steps", self.seed, iteration))
        return Steps(window, tuple(sorted(window[place] for place in order[:count])))


@dataclass(frozen=True, slots=True)
class SlidingWindow(StepSelection):
    """A short window of stochastic steps, all of them trained, which moves from noise to data as training goes on.

    Outside the window there is no noise, so all differences between the pictures of a group come from the trained
    steps, and the other steps cost one evaluation and no training. At the end of the grid the window starts over.

    Source: Li et al., MixGRPO, arXiv:2507.21802, section 3.2 and algorithm 1.

    Attributes:
        length: Steps of the window, at least 1; the paper's w.
        stride: Steps that it moves by, at least 1; the paper's s.
        hold: Iterations that it stays, at least 1; the paper's tau.
        skip_first: Number of first steps that are never in it, not negative.
        skip_last: Number of last steps that are never in it, not negative.

    Raises:
        ValueError: If a number is out of range.
    """

    length: int = 4
    stride: int = 1
    hold: int = 25
    skip_first: int = 0
    skip_last: int = 0

    def __post_init__(self) -> None:
        _check_at_least("SlidingWindow", 1, length=self.length, stride=self.stride, hold=self.hold)
        _check_at_least("SlidingWindow", 0, skip_first=self.skip_first, skip_last=self.skip_last)

    @override
    def __call__(self, steps: int, iteration: int) -> Steps:
        last = _places(self.length, steps, self.skip_first, self.skip_last)[-1]
        # The last place is visited even where the stride does not meet it.
        places = 1 + ceil((last - self.skip_first) / self.stride)
        start = min(self.skip_first + iteration // self.hold % places * self.stride, last)
        window = range(start, start + self.length)
        return Steps(window, tuple(window))


@dataclass(frozen=True, slots=True)
class RandomWindow(StepSelection):
    """A short window of stochastic steps, all of them trained, at another place in each iteration.

    All other steps follow the ODE. Those before the window are the same for all pictures that start from one noise, and
    are drawn once for them; early windows change what is in a picture, late ones its details.

    Source: Flow-GRPO-Fast, in the code of Flow-GRPO (arXiv:2505.05470): `sde_window_size` steps that begin at random in
    `sde_window_range`.

    Attributes:
        length: Steps of the window, at least 1.
        skip_first: Number of first steps that are never in it, not negative.
        skip_last: Number of last steps that are never in it, not negative.
        seed: Of the places.

    Raises:
        ValueError: If a number is out of range.
    """

    length: int = 2
    skip_first: int = 0
    skip_last: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _check_at_least("RandomWindow", 1, length=self.length)
        _check_at_least("RandomWindow", 0, skip_first=self.skip_first, skip_last=self.skip_last, seed=self.seed)

    @override
    def __call__(self, steps: int, iteration: int) -> Steps:
        places = _places(self.length, steps, self.skip_first, self.skip_last)
        start = places[stable_seed("window", self.seed, iteration) % len(places)]
        window = range(start, start + self.length)
        return Steps(window, tuple(window))


def _places(length: int, steps: int, skip_first: int, skip_last: int) -> range:
    """Where a window may begin.

    Raises:
        ValueError: If there is no room for it.
    """
    places = range(skip_first, steps - skip_last - length + 1)
    if not places:
        raise ValueError(
            f"a window of {length} steps does not fit into a grid of {steps} without its first {skip_first} and last "
            f"{skip_last}; shorten it or take more steps"
        )
    return places


def _check_at_least(owner: str, least: int, **numbers: int) -> None:
    for name, value in numbers.items():
        if value < least:
            raise ValueError(f"{owner} needs {name} of at least {least}, got {value}")
