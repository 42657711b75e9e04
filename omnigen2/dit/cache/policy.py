"""The rules by which a row of a batch reuses what was computed at earlier steps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, prod
from typing import ClassVar, Literal, TypeAlias

from torch import Tensor
from typing_extensions import override

from omnigen2.dit.cache.clock import Clock, Count, Velocity
from omnigen2.dit.cache.fit import modulated_input, polynomial
from omnigen2.dit.cache.history import History
from omnigen2.dit.cache.run import BlockRun, Run, StepRun
from omnigen2.dit.model import DiffusionTransformer
from omnigen2.errors import UserError, check_choice, check_whole
from omnigen2.layout import TokenIndex

Order: TypeAlias = Literal[0, 1, 2]
"""Reused values are repeated (0), or extrapolated by the polynomial through the last two (1) or three (2)."""
Numbers: TypeAlias = dict[int, float]
"""One number a row, for a rule to use as it likes; rows that are computed lose theirs."""


@dataclass(frozen=True, kw_only=True)
class Cache(ABC):
    """When values are reused. The first step and the last one are always computed.

    Attributes:
        order: See `Order`.
        warm_up: First steps that are computed, at least 1.
    """

    order: Order = 1
    warm_up: int = 2
    by_step: ClassVar[bool] = False
    """Whether it decides by the number of the step alone."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_choice(f"order of {name}", self.order, Order)
        if check_whole(f"warm_up of {name}", self.warm_up) < 1:
            raise UserError(f"{name} has warm_up {self.warm_up}, expected at least 1")
        threshold = getattr(self, "threshold", 0.0)
        if not (isfinite(threshold) and threshold >= 0):
            raise UserError(f"{name} has the threshold {threshold}, expected a number of at least 0; 0 reuses nothing")
        if check_whole(f"interval of {name}", getattr(self, "interval", 1)) < 1:
            raise UserError(f"{name} has an interval below 1", "1 computes every step")

    @abstractmethod
    def start(self, clock: Clock, count: Count | None = None) -> Run:
        """A drawing with this rule, to be called in the transformer's place, at the steps of a clock."""


@dataclass(frozen=True, kw_only=True)
class StepCache(Cache):
    """A rule that decides before a step, and predicts velocities.

    Attributes:
        official: Extrapolate as the official code does, see `omnigen2.dit.cache.taylor`.
    """

    official: bool = False
    looks_back: ClassVar[bool] = False

    @abstractmethod
    def is_due(self, step: int, row: int, numbers: Numbers) -> bool:
        """Whether a row is computed at a step behind those of the warm-up."""

    def next_due(self, step: int, error: float, known: Sequence[int]) -> int:
        """The step at which a row is due again, for rules that compare what was computed with what was predicted.

        Args:
            error: Relative difference of the two.
            known: Steps that the prediction was made from, newest first.
        """
        del error, known
        return step + 1

    @override
    def start(self, clock: Clock, count: Count | None = None) -> Run:
        return StepRun(self, clock, count)


@dataclass(frozen=True, kw_only=True)
class TaylorSeer(StepCache):
    """Computes the steps of the warm-up and from then on each `interval`-th; velocities in between are extrapolated.

    It decides by the number of the step alone, so it works with any velocity model (`models`).

    Attributes:
        interval: At least 1, which computes every step.

    Source: Liu et al., arXiv:2503.06923.

    Example:
        >>> import torch
        >>> from omnigen2.flow import EulerSolver, time_grid, IdentityShift
        >>> calls = []
        >>> model = lambda x_t, t: calls.append(t) or -x_t
        >>> noise, index, times = torch.ones(1, 1), torch.tensor([0]), time_grid(20, IdentityShift(), [1])
        >>> x = EulerSolver().solve(TaylorSeer(interval=3).models(model, 20), noise, times, index)
        >>> len(calls), round(float(x), 3), round(0.95 ** 20, 3)
        (8, 0.361, 0.358)
    """

    interval: int = 3
    by_step: ClassVar[bool] = True

    @override
    def is_due(self, step: int, row: int, numbers: Numbers) -> bool:
        return (step - self.warm_up + 1) % self.interval == 0

    def models(self, model: Velocity, steps: int) -> tuple[Velocity, ...]:
        """Any velocity model, one a step, as solvers take them. Steps of two evaluations keep them apart.

        Raises:
            UserError: If it is none.
        """
        if not callable(model):
            raise UserError(f"the model of TaylorSeer is {model!r:.60}, expected a function of x_t and t")
        clock = Clock(steps)
        kept: dict[int, tuple[int, History]] = {}

        def seen(x_t: Tensor, t: Tensor, /) -> Tensor:
            drawing, history = kept.get(clock.evaluation, (-1, History(self.order)))
            if drawing != clock.drawing:
                history = History(self.order, self.official)
                kept[clock.evaluation] = clock.drawing, history
            fixed = clock.must_compute or clock.step < self.warm_up or not history.has(0)
            if fixed or self.is_due(clock.step, 0, {}):
                velocity = model(x_t, t)
                history.push(clock.step, velocity, [True])
                return velocity
            return history.predict(clock.step, 1, None, len(x_t))

        return clock.models(seen)


@dataclass(frozen=True, kw_only=True)
class ForecastCache(StepCache):
    """Extrapolates velocities for as long as it did well: each row has the next step when it needs it.

    Whenever a row is computed, its velocity v is compared with the extrapolated w: e = mean |w - v| / mean |v|. The
    error of a polynomial through the steps s_i grows with the product of (s - s_i), so that of a later step is known,
    and the row is due at the last one where it stays below the threshold. Rows that are not due cost nothing at all.

    Source: our own; the step sizes of multistep methods for differential equations are chosen like this.

    Attributes:
        threshold: Of the relative error, at least 0, which computes every step.
        longest: Steps until a row is due again, at most.
    """

    threshold: float = 0.1
    longest: int = 6
    looks_back: ClassVar[bool] = True

    @override
    def is_due(self, step: int, row: int, numbers: Numbers) -> bool:
        return step >= numbers.get(row, 0)

    @override
    def next_due(self, step: int, error: float, known: Sequence[int]) -> int:
        grown = error / prod(step - one for one in known)
        nodes = (step, *known)[: self.order + 1]
        gap = 1
        while gap < self.longest and grown * prod(step + gap - one for one in nodes) < self.threshold:
            gap += 1
        return step + gap


@dataclass(frozen=True, kw_only=True)
class BlockCache(Cache):
    """A rule that decides in the transformer: rows that changed little get what the blocks added to them before.

    Attributes:
        threshold: Of the change, at least 0, which computes every step.
        blocks: First blocks that all rows go through.
    """

    threshold: float = 0.1
    blocks: int = 0
    follows: ClassVar[bool] = False
    """Whether a signal is compared with that of the step before, and not with that of the last computed one."""

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if check_whole("blocks of a cache", self.blocks) < 0:
            raise UserError(f"a cache cannot run {self.blocks} blocks", "1 is usual")

    @abstractmethod
    def signal(
        self, dit: DiffusionTransformer, before: Tensor, after: Tensor, time: Tensor, owner: TokenIndex
    ) -> Tensor:
        """What is looked at, from the target tokens before and after the first blocks."""

    @abstractmethod
    def still(self, change: float, row: int, numbers: Numbers) -> bool:
        """Whether a row whose signal changed by so much, relative to its mean size, may reuse."""

    @override
    def start(self, clock: Clock, count: Count | None = None) -> Run:
        return BlockRun(self, clock, count)


@dataclass(frozen=True, kw_only=True)
class FirstBlockCache(BlockCache):
    """Runs the first blocks, and the others where what these add changed since the row was last computed.

    A change below the threshold is none.

    Source: the first-block cache of ParaAttention; DBCache of cache-dit, which also extrapolates.
    """

    blocks: int = 1

    @override
    def signal(
        self, dit: DiffusionTransformer, before: Tensor, after: Tensor, time: Tensor, owner: TokenIndex
    ) -> Tensor:
        return after - before

    @override
    def still(self, change: float, row: int, numbers: Numbers) -> bool:
        return change < self.threshold


@dataclass(frozen=True, kw_only=True)
class TeaCache(BlockCache):
    """Adds up a polynomial of the relative change of the first block's modulated input from step to step.

    All blocks are run again where the sum reaches the threshold. Negative values of the polynomial count as 0.

    Official code looks at all tokens of the joint sample, here it is those of the target alone, since texts do not
    change: coefficients from elsewhere belong to other numbers. `Fit` makes them.

    Attributes:
        coefficients: Of the polynomial, highest power first; (1, 0) takes the change as it is.
        span: Changes that they were fitted to; any other counts as the nearest of these.

    Source: Liu et al., arXiv:2411.19108.
    """

    threshold: float = 0.15
    coefficients: tuple[float, ...] = (1.0, 0.0)
    span: tuple[float, float] = (0.0, inf)
    follows: ClassVar[bool] = True

    @override
    def signal(
        self, dit: DiffusionTransformer, before: Tensor, after: Tensor, time: Tensor, owner: TokenIndex
    ) -> Tensor:
        return modulated_input(dit, before, time, owner)

    @override
    def still(self, change: float, row: int, numbers: Numbers) -> bool:
        numbers[row] = numbers.get(row, 0.0) + max(polynomial(self.coefficients, self.span, change), 0.0)
        return numbers[row] < self.threshold
