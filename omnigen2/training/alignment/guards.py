"""Iterations that must teach nothing: who says so, and how the run stops there without losing anything."""

import math
from abc import abstractmethod
from collections.abc import Iterable
from statistics import fmean, variance
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from omnigen2.runner.keep import ResumePoint
from omnigen2.training.alignment.collectives import stop_all_processes
from omnigen2.training.alignment.metrics import IterationReport, most_common


class RewardGuard(Callback):
    """Looks at what every iteration has found out, before the policy learns from it."""

    @abstractmethod
    def verdict(self, report: IterationReport) -> str | None:
        """None if training may go on; else why not and what to do. Called on every process with the same report.

        Then nothing is learned from the iteration, a checkpoint of the state before it is written, and the run stops
        with these words.
        """


class InvalidRewardGuard(RewardGuard):
    """Stops training when too many pictures of an iteration have no reward.

    Those of prompts whose own pictures cannot be opened do not count: nobody is asked about them.

    Args:
        most: The largest share that is put up with, in [0, 1).

    Raises:
        ValueError: If it is out of range.
    """

    def __init__(self, most: float = 0.3) -> None:
        if not 0 <= most < 1:
            raise ValueError(f"most must be in [0, 1), got {most}; it is a share of the pictures of an iteration")
        self.most = most

    @override
    def verdict(self, report: IterationReport) -> str | None:
        if report.refused_share <= self.most:
            return None
        first = report.refused()[0]
        return (
            f"{100 * report.refused_share:.0f} % of the rewards of iteration {report.iteration} are invalid, more than "
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

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"trained": self._trained, "watched": self._watched, "warned": self.warned}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._trained = list(state_dict["trained"])
        self._watched = {name: list(values) for name, values in state_dict["watched"].items()}
        self.warned = list(state_dict["warned"])

    @override
    def verdict(self, report: IterationReport) -> str | None:
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


def reason_to_stop(report: IterationReport, retries: int, callbacks: Iterable[Callback]) -> str | None:
    """The first reason why nothing may be learned from an iteration, with what to do; None if there is none.

    Every guard among the callbacks is asked, unless some pictures were scored by nobody in all `retries`.
    """
    if (outage := report.scored.outage) is not None:
        return (
            f"pictures of iteration {report.iteration} were not scored ({outage}), after {retries} more rounds of "
            "asking\n  start the reward servers again"
        )
    reasons = [callback.verdict(report) for callback in callbacks if isinstance(callback, RewardGuard)]
    return next((reason for reason in reasons if reason is not None), None)


class StopOnceSaved:
    """Ends a run with a reason, once its `ResumePoint` has saved the state before the iteration that gave it."""

    def __init__(self) -> None:
        self._reason: str | None = None

    def ask(self, trainer: Trainer, reason: str) -> None:
        """Ask for a checkpoint of this state, and for a stop after it.

        Raises:
            UserError: If there is no `ResumePoint`; the first process alone says so, the others end with its status.
        """
        points = _points(trainer)
        if not points:
            stop_all_processes(f"{reason}\n  nothing was saved: the run has no ResumePoint")
        self._reason = reason
        points[0].ask()

    def stop_if_saved(self, trainer: Trainer, iteration: int) -> None:
        """Stop if that was asked for and the checkpoint is there; so many iterations are finished.

        Raises:
            UserError: With the reason; the first process alone says so, the others end with its status.
        """
        if self._reason is not None and _points(trainer)[0].answered(trainer):
            stop_all_processes(f"{self._reason}; the same command goes on from iteration {iteration}")


def _points(trainer: Trainer) -> list[ResumePoint]:
    return [point for point in trainer.checkpoint_callbacks if isinstance(point, ResumePoint)]


def _note(values: list[float], iteration: int, value: float) -> None:
    """Append what an iteration gave, in place of what it gave before it was drawn again."""
    del values[iteration:]
    values.append(value)
