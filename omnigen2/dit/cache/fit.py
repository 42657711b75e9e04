"""How much of a change of the modulated input becomes a change of what the blocks add: measured, and fitted."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import isfinite
from typing import TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from omnigen2.dit.block import ModulatedBlock
from omnigen2.dit.cache.clock import Clock, Count
from omnigen2.dit.cache.run import Run
from omnigen2.dit.model import Condition, DiffusionTransformer
from omnigen2.errors import UserError
from omnigen2.layout import TokenIndex, TokenStates

Pairs: TypeAlias = list[tuple[float, float]]
"""Changes from one step to the next of one row: that of the modulated input, and that of what the blocks add."""
DEGREE = 4
FEWEST = 50
"""Pairs that a polynomial is fitted to."""


@dataclass(frozen=True)
class Fit:
    """A polynomial of the change of the modulated input, see `TeaCache`.

    Attributes:
        coefficients: Highest power first.
        span: The least and the largest change that it was fitted to.
        explained: Share of the variance that it explains, R²: 1 if it meets every pair, 0 if it knows no more than
            their mean.
        error: Root of the mean squared error.
        pairs: Number of them.

    Example:
        >>> fit = Fit.of([(x / 100, 2 * x / 100) for x in range(1, 100)])
        >>> round(fit(0.5), 6), round(fit(7.0), 6), round(fit.explained, 6)
        (1.0, 1.98, 1.0)
    """

    coefficients: tuple[float, ...]
    span: tuple[float, float]
    explained: float
    error: float
    pairs: int

    @classmethod
    def of(cls, pairs: Pairs, degree: int = DEGREE) -> "Fit":
        """Fit a polynomial by least squares, as the official calibration does.

        Args:
            pairs: At least 50; those that are no numbers, such as those of blocks that add nothing, do not count.
            degree: Of the polynomial.

        Raises:
            UserError: If there are too few.
        """
        kept = [pair for pair in pairs if all(map(isfinite, pair))]
        if len(kept) < FEWEST:
            raise UserError(
                f"got {len(kept)} changes from step to step, expected at least {FEWEST}", "draw more prompts or steps"
            )
        x, y = torch.tensor(kept, dtype=torch.float64).unbind(1)
        scale = x.max().clamp(min=1e-30)
        powers = torch.arange(degree, -1, -1, dtype=torch.float64)
        table = (x / scale)[:, None] ** powers  # of numbers up to 1, so that the solution is as exact as can be
        solution = torch.linalg.lstsq(table, y[:, None], driver="gelsd").solution[:, 0]
        error, spread = table @ solution - y, y - y.mean()
        explained = 1 - float(error.square().sum() / spread.square().sum().clamp(min=1e-30))
        coefficients = tuple((solution / scale**powers).tolist())
        return cls(
            coefficients, (float(x.min()), float(x.max())), explained, float(error.square().mean().sqrt()), len(x)
        )

    def __call__(self, change: float) -> float:
        """The change of what the blocks add that a change of the modulated input makes expect."""
        return polynomial(self.coefficients, self.span, change)


def polynomial(coefficients: Sequence[float], span: tuple[float, float], x: float) -> float:
    """Its value, at the nearest point of the span: elsewhere a fitted polynomial goes anywhere."""
    inside = min(max(x, span[0]), span[1])
    return reduce(lambda value, coefficient: value * inside + coefficient, coefficients, 0.0)


def modulated_input(dit: DiffusionTransformer, states: TokenStates, time: Tensor, owner: TokenIndex) -> TokenStates:
    """What the first block's attention reads of some tokens, at embedded times."""
    block = cast(ModulatedBlock, dit.blocks[0])
    return block.body.attention_norms.enter(states, block.modulation(time)[0], owner)


class Watching(Run):
    """A drawing that computes everything, and writes down how each row changed from step to step.

    Args:
        pairs: What is added to.
    """

    def __init__(self, clock: Clock, count: Count | None, pairs: Pairs) -> None:
        super().__init__(clock, count)
        self.pairs = pairs
        self._before: dict[int, tuple[int, Tensor, Tensor]] = {}

    @override
    def __call__(self, dit: DiffusionTransformer, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return dit(x_t, t, condition, self._inside)

    def _inside(
        self, dit: DiffusionTransformer, states: TokenStates, time: Tensor, condition: Condition
    ) -> Float[Tensor, "targets hidden"]:
        rows, clock, target = self.rows(condition), self.clock, condition.routes.target
        self.counted(dit, rows, len(rows) * len(dit.blocks))
        front = states.index_select(0, target)
        signal = modulated_input(dit, front, time, condition.routes.owner.index_select(0, target))
        targets = dit.through(states, condition.joint, time).index_select(0, target)
        added = targets - front
        drawing, *before = self._before.get(clock.evaluation, (-1,))
        if drawing == clock.drawing and len(before[0]) == len(signal):  # as many branches at both steps
            changes = [rows.change(*pair).tolist() for pair in zip((signal, added), before, strict=True)]
            self.pairs.extend(zip(*changes, strict=True))
        self._before[clock.evaluation] = clock.drawing, signal, added
        return targets
