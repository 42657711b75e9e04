"""Guards of reinforcement learning: rewards that are not there, and rewards that are hacked."""

import math
from abc import abstractmethod
from statistics import fmean, variance
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_warn

from omnigen2.training.alignment.metrics import IterationReport, most_common


class RewardGuard(Callback):
    """Looks at what every iteration has found out, before the policy learns from it."""

    @abstractmethod
    def verdict(self, report: IterationReport) -> str | None:
        """Say whether training may go on. Called on every process with the same report.

        Args:
            report: Of the iteration.

        Returns:
            None if it may; else why not and what to do: nothing is learned from the iteration, a checkpoint of the
            state before it is written, and the run stops with these words.
        """


class InvalidRewardGuard(RewardGuard):
    """Stops training when too many pictures of an iteration have no reward.

    Args:
        most: The largest share that is put up with, in [0, 1).

    Raises:
        ValueError: If it is out of range.
    """

    def __init__(self, most: float = 0.3) -> None:
        if not 0 <= most < 1:
            raise ValueError(f"most must be in [0, 1), got {most}; it is a share of the pictures of an iteration")
        self.most = most

    def verdict(self, report: IterationReport) -> str | None:
        """Compare the share of pictures without a reward with the largest allowed one."""
        if report.invalid_share <= self.most:
            return None
        first = next(problem for problem in report.scored.scores.problem if problem is not None)
        return (
            f"{100 * report.invalid_share:.0f} % of the rewards of iteration {report.iteration} are invalid, more than "
            f"{100 * self.most:.0f} % ({most_common(report.causes())}; the first: {first})\n"
            "  mend what judges the pictures, or raise the guard's `most`"
        )


class RewardHackingGuard(RewardGuard):
    """Warns when the trained reward rises while a watched one falls.

    The rule: the means of the last `window` iterations are compared with those of the first `window` iterations. Both
    changes must be larger than `sigmas` standard errors of the difference of two means, which are estimated from the
    spread of the iterations' means within each window. It is looked at once the windows do not overlap, and after
    every further `window` iterations; each watched reward is warned of once. The windows are part of a checkpoint.
    Iterations in which a reward has no value are left out of its windows, of which each needs two values. One that is
    drawn again counts once.

    Args:
        window: Iterations of each window, at least 2.
        sigmas: How clear a change must be, positive.
        stop: Whether training stops as well.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, window: int = 10, sigmas: float = 3.0, stop: bool = False) -> None:
        if window < 2 or not sigmas > 0:
            raise ValueError(f"RewardHackingGuard needs window >= 2 and sigmas > 0, got {window} and {sigmas}")
        self.window = window
        self.sigmas = sigmas
        self.stop = stop
        self.warned: list[str] = []
        self._trained: list[float] = []
        self._watched: dict[str, list[float]] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the means of all iterations so far."""
        return {"trained": self._trained, "watched": self._watched, "warned": self.warned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the means of a checkpoint.

        Args:
            state_dict: What `state_dict` returned.
        """
        self._trained = list(state_dict["trained"])
        self._watched = {name: list(values) for name, values in state_dict["watched"].items()}
        self.warned = list(state_dict["warned"])

    def verdict(self, report: IterationReport) -> str | None:
        """Remember the means, and compare windows if it is time."""
        _note(self._trained, report.iteration, report.reward)
        for name, value in report.watched().items():
            _note(self._watched.setdefault(name, []), report.iteration, value)
        done = len(self._trained)
        if done < 2 * self.window or done % self.window:
            return None
        rise = self._change(self._trained)
        found = [name for name, values in self._watched.items() if self._falls(values) and name not in self.warned]
        if rise is None or rise[0] <= self.sigmas * rise[1] or not found:
            return None
        self.warned += found
        words = (
            f"the trained reward rose by {rise[0]:.3f} from the first {self.window} to the last {self.window} of "
            f"{done} iterations, while {', '.join(found)} fell: it is probably being hacked\n"
            "  look at the sample sheets; train on another reward, raise the KL's weight, or stop earlier"
        )
        if self.stop:
            return words
        rank_zero_warn(words)
        return None

    def _falls(self, values: list[float]) -> bool:
        change = self._change(values)
        return change is not None and change[0] < -self.sigmas * change[1]

    def _change(self, values: list[float]) -> tuple[float, float] | None:
        """The change from the first to the last window, and its standard error; None if too many values are missing."""
        first, last = (
            [value for value in window if math.isfinite(value)]
            for window in (values[: self.window], values[-self.window :])
        )
        if min(len(first), len(last)) < 2:
            return None
        return fmean(last) - fmean(first), math.sqrt(variance(first) / len(first) + variance(last) / len(last))


def _note(values: list[float], iteration: int, value: float) -> None:
    """Append what an iteration gave, in place of what it gave before it was drawn again."""
    del values[iteration:]
    values.append(value)
