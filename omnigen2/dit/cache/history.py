"""What was computed last for each row, and what follows from it for a later step."""

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

Values: TypeAlias = Float[Tensor, "_ *channels"]
Places: TypeAlias = Int[Tensor, " _"]


def lagrange(at: int, known: Sequence[int]) -> list[float]:
    """What the values at the steps `known` are multiplied with to give that of their polynomial at the step `at`.

    One value is repeated; n values of a smooth function of the step are extrapolated with an error of order n.

    Example:
        >>> lagrange(6, [4, 2])
        [2.0, -1.0]
    """
    return [prod((at - other) / (one - other) for other in known if other != one) for one in known]


def taylor(at: int, known: Sequence[int]) -> list[float]:
    """The same by a Taylor series whose derivatives are backward differences, as the official code has it.

    From the second derivative on it is not the polynomial through the values: its error stays of order 2.

    Source: Liu et al., arXiv:2503.06923, eq. 9, for steps at one distance.
    """
    match known:
        case [one]:
            del one
            return [1.0]
        case [one, two]:
            return lagrange(at, [one, two])
        case [one, two, *_]:
            x = (at - one) / (one - two)
            return [1 + x + x * x / 2, -x - x * x, x * x / 2]
        case _:
            return []


class History:
    """The last values of every row, each with the step it was computed at.

    Calls with fewer rows than before mean the first ones, as unguided steps among guided ones do.

    Args:
        order: 0 repeats the last value; 1 and 2 extrapolate the last two and three.
        official: Whether by `taylor` in place of `lagrange`.
    """

    def __init__(self, order: int, official: bool = False) -> None:
        self.order = order
        self.weights = taylor if official else lagrange
        self.values: list[Tensor] = []
        self.known: list[tuple[int, ...]] = []

    def has(self, row: int) -> bool:
        """Whether anything was computed for a row."""
        return row < len(self.known) and bool(self.known[row])

    def push(self, step: int, values: Values, computed: Sequence[bool], into: Places | None = None) -> None:
        """Keep what was computed.

        Args:
            step: The present one.
            values: Of the rows that were computed.
            computed: For each row of the call, whether it was.
            into: Places of the values among those of all rows; None if all rows of the call were computed.
        """
        self.known += [()] * (len(computed) - len(self.known))
        for row in (row for row, yes in enumerate(computed) if yes):
            self.known[row] = (step, *self.known[row])[: self.order + 1]
        if into is None and (not self.values or len(values) >= len(self.values[0])):
            padded = [put(values, old, slice(len(old))) for old in self.values]
            self.values = [values, *padded][: self.order + 1]
            return
        where = torch.arange(len(values), device=values.device) if into is None else into
        newer = values
        for number, old in enumerate(self.values):
            self.values[number], newer = old.index_copy(0, where, newer), old.index_select(0, where)
        if len(self.values) <= self.order:
            self.values.append(self.values[-1].index_copy(0, where, newer))

    def predict(self, step: int, rows: int, owner: Places | None, tokens: int) -> Values:
        """The values of the first rows at a step.

        Args:
            owner: The row of each token, shape (tokens,); None if there is one row.
            tokens: Of these rows.
        """
        each = [self.weights(step, known) for known in self.known[:rows]]
        padded = [[*weights, *[0.0] * (len(self.values) - len(weights))] for weights in each]
        numbers = torch.tensor(padded, dtype=torch.float32).T
        if owner is None or all(weights == padded[0] for weights in padded):
            return _sum([float(number) for number in padded[0]], [values[:tokens] for values in self.values])
        spread = numbers.to(owner.device, non_blocking=True).index_select(1, owner)
        spread = spread.reshape(*spread.shape, *([1] * (self.values[0].ndim - 1)))
        return _sum(list(spread), [values[:tokens] for values in self.values])


def put(like: Tensor, values: Tensor, where: slice) -> Tensor:
    """Values at their places in a tensor of another one's shape, which is zero elsewhere."""
    out = torch.zeros_like(like)
    out[where] = values
    return out


def _sum(weights: Sequence[float] | Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    if len(values) == 1:
        return values[0]
    total = values[0] * weights[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        total = total + weight * value
    return total.to(values[0].dtype)
