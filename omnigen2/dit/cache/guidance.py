"""Reuse of what guidance adds: the differences of the other branches from the conditional one."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from omnigen2.dit.cache.clock import Clock, Velocity
from omnigen2.dit.cache.history import History
from omnigen2.errors import UserError, check_whole


@dataclass(frozen=True, kw_only=True)
class GuidanceReuse:
    """Computes all branches at each `interval`-th step, and the conditional branch alone at the others.

    There the differences of the other branches from it are extrapolated. The first step and the last have all branches.

    Attributes:
        interval: At least 1, which computes all branches at every step.
        order: 0 repeats the differences, 1 and 2 extrapolate them.

    Source: the reuse of guidance in FasterCache, Lv et al., arXiv:2410.19355, without its frequency bands.
    """

    interval: int = 2
    order: int = 1

    def __post_init__(self) -> None:
        if check_whole("interval of GuidanceReuse", self.interval) < 1 or self.order not in (0, 1, 2):
            raise UserError(f"got {self}, expected an interval of at least 1 and an order of 0, 1 or 2")

    def over(
        self,
        branches: Velocity,
        conditional: Velocity,
        number: int,
        clock: Clock,
        skipped: Callable[[], None] = lambda: None,
    ) -> Velocity:
        """All branches, as a `Guidance` takes them.

        Args:
            branches: Answers for all branches, the conditional one first.
            conditional: Answers for that alone.
            number: Of branches.
            clock: Tells the step.
            skipped: Called where the other branches are not computed.
        """
        kept: dict[int, tuple[int, History]] = {}

        def model(x_t: Tensor, t: Tensor, /) -> Tensor:
            drawing, history = kept.get(clock.evaluation, (-1, History(self.order)))
            if drawing != clock.drawing:
                history = History(self.order)
                kept[clock.evaluation] = clock.drawing, history
            if clock.must_compute or not history.has(0) or clock.step % self.interval == 0:
                velocities = branches(x_t, t)
                each = velocities.unflatten(0, (number, -1))
                history.push(clock.step, (each[1:] - each[:1]).flatten(0, 1), [True])
                return velocities
            skipped()
            tokens = len(x_t) // number
            own = conditional(x_t[:tokens], t[: len(t) // number])
            others = history.predict(clock.step, 1, None, (number - 1) * tokens)
            return torch.cat((own, own.repeat(number - 1, *([1] * (own.ndim - 1))) + others))

        return model
