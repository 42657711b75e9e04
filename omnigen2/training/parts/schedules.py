r"""Learning rates as a function of the step: fractions of the peak, named in recipes by their class.

Every schedule rises linearly over its warm-up: step $s$, counted from 0, has $(s + 1) / w$ of the peak, so that the
first step already learns and the peak is reached at step $w - 1$. Nothing but the step is needed to go on after a stop.
Numbers out of the ranges that the classes name are refused with a ValueError.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from typing_extensions import override


class LearningRate(ABC):
    """A learning rate as a fraction of its peak."""

    @abstractmethod
    def factor(self, step: int) -> float:
        """The fraction of the peak, in [0, 1], after so many optimizer steps."""

    def resolved(self, max_steps: int) -> "LearningRate":
        """Fill in the length of the run where the recipe has left it open, so that `factor` can be called.

        Args:
            max_steps: Optimizer steps of the whole run; the trainer's -1 for "no end" is fine where it is not needed.

        Raises:
            ValueError: If it is needed and nobody says how long the run is.
        """
        return self


@dataclass(frozen=True)
class WarmupConstant(LearningRate):
    """Rises, then stays at the peak.

    Attributes:
        warmup_steps: Steps of linear rise, at least 0.

    Example:
        >>> [WarmupConstant(4).factor(step) for step in (0, 1, 3, 100)]
        [0.25, 0.5, 1.0, 1.0]
    """

    warmup_steps: int = 0

    def __post_init__(self) -> None:
        _at_least("warmup_steps", self.warmup_steps, 0)

    @override
    def factor(self, step: int) -> float:
        return _rise(step, self.warmup_steps)


@dataclass(frozen=True)
class _Finite(LearningRate):
    warmup_steps: int = 0
    total_steps: int | None = None

    def __post_init__(self) -> None:
        _at_least("warmup_steps", self.warmup_steps, 0)
        if self.total_steps is not None:
            _at_least("total_steps", self.total_steps, 1)

    @override
    def resolved(self, max_steps: int) -> LearningRate:
        if self.total_steps is not None:
            return self
        if max_steps < 1:
            raise ValueError(
                f"{type(self).__name__} falls towards the end of the run, but the trainer has max_steps={max_steps}; "
                "set trainer.max_steps or the schedule's total_steps"
            )
        return dataclasses.replace(self, total_steps=max_steps)

    @property
    def _total(self) -> int:
        if self.total_steps is None:
            raise ValueError(
                f"{type(self).__name__} has no total_steps; give it or call resolved(trainer.max_steps) first"
            )
        return self.total_steps


@dataclass(frozen=True)
class WarmupCosine(_Finite):
    """Rises, then falls along half a cosine to a fraction of the peak; stays there after the end.

    Attributes:
        warmup_steps: Steps of linear rise, at least 0. A run that is not longer never reaches the peak's fall.
        total_steps: Steps in all, at least 1; None for the trainer's `max_steps`.
        final: The fraction of the peak after the last step, in [0, 1].

    Source: Loshchilov & Hutter, arXiv:1608.03983, eq. 5, without restarts.

    Example:
        >>> [round(WarmupCosine(2, 10, final=0.1).factor(step), 2) for step in (0, 1, 6, 10)]
        [0.5, 1.0, 0.55, 0.1]
    """

    final: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        _is_share("final", self.final)

    @override
    def factor(self, step: int) -> float:
        progress = min(1.0, max(0, step - self.warmup_steps) / max(1, self._total - self.warmup_steps))
        fall = self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2
        return _rise(step, self.warmup_steps) * fall


@dataclass(frozen=True)
class WarmupLinearDecay(_Finite):
    """Rises, stays at the peak, and falls linearly to 0 over the last share of the run: a trapezoid.

    The last step still learns; only the step after it would have a learning rate of 0. Where warm-up and fall
    overlap in a short run, the smaller of both counts.

    Attributes:
        warmup_steps: Steps of linear rise, at least 0.
        total_steps: Steps in all, at least 1; None for the trainer's `max_steps`.
        decay_share: The part of all steps that falls, in [0, 1].

    Source: Hägele et al., arXiv:2405.18392, section 3 ("constant learning rate with cooldown"), linear form.

    Example:
        >>> [WarmupLinearDecay(2, 10, decay_share=0.4).factor(step) for step in (0, 1, 6, 8, 9, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.25, 0.0]
    """

    decay_share: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        _is_share("decay_share", self.decay_share)

    @override
    def factor(self, step: int) -> float:
        falling = max(1, round(self.decay_share * self._total))
        fall = max(0.0, min(1.0, (self._total - step) / falling))
        return min(_rise(step, self.warmup_steps), fall)


class ScheduledLR(LambdaLR):
    """A schedule at work. Its state says which one it is, so that a run that goes on can tell whether it changed."""

    def __init__(self, optimizer: Optimizer, schedule: LearningRate) -> None:
        self.schedule = schedule
        # a function and not the bound method, whose attributes LambdaLR would put into every checkpoint
        super().__init__(optimizer, lambda step: schedule.factor(step))

    @override
    def state_dict(self) -> dict[str, Any]:
        plain = {name: value for name, value in vars(self.schedule).items() if isinstance(value, int | float | None)}
        state = {name: value for name, value in super().state_dict().items() if name != "schedule"}
        return state | {"description": {"kind": type(self.schedule).__name__, **plain}}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "description"})


def lambda_lr(optimizer: Optimizer, schedule: LearningRate) -> ScheduledLR:
    """Let a resolved schedule drive the learning rates of all groups of an optimizer, whose `lr` are their peaks.

    It is to be stepped after every optimizer step (`interval: step` in Lightning).
    """
    return ScheduledLR(optimizer, schedule)


def scheduled(optimizer: Optimizer, schedule: LearningRate, max_steps: int) -> OptimizerLRScheduler:
    """What `configure_optimizers` returns: the optimizer, and a schedule that advances with every step of a run.

    Args:
        optimizer: Its learning rates are the peaks.
        schedule: Perhaps of open length.
        max_steps: Optimizer steps of the whole run.
    """
    scheduler = lambda_lr(optimizer, schedule.resolved(max_steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _rise(step: int, warmup_steps: int) -> float:
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def _is_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is a share and must be in [0, 1], got {value}")
