"""Guidance on some of the steps: one model per step, chosen on the host before the first of them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.flow.model import VelocityModel


@dataclass(frozen=True, slots=True)
class GuidanceSchedule:
    """Which steps are guided. The others evaluate the conditional branch alone, at a fraction of the cost.

    Step i of n is guided when `start <= i / n <= stop`, both ends inclusive, as in the official pipeline. i / n is
    the time of the step *before* the shift.

    Attributes:
        start: In [0, 1].
        stop: In [start, 1].
        zero_init_steps: Number of first steps with velocity 0, which leave the noise as it is (CFG-Zero*).

    Raises:
        ValueError: If the fractions are not 0 <= start <= stop <= 1, or the number of steps is negative.
    """

    start: float = 0.0
    stop: float = 1.0
    zero_init_steps: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop <= 1:
            raise ValueError(
                f"GuidanceSchedule needs 0 <= start <= stop <= 1, got {self.start} and {self.stop}; "
                "they are fractions of the steps"
            )
        if self.zero_init_steps < 0:
            raise ValueError(f"zero_init_steps must not be negative, got {self.zero_init_steps}")

    def models(self, guided: VelocityModel, conditional: VelocityModel, steps: int) -> tuple[VelocityModel, ...]:
        """The model of each step: what a solver and `sample_sde` accept in place of a single model.

        Args:
            guided: What a guidance made.
            conditional: The conditional branch alone.
            steps: Number of steps of the grid.

        Returns:
            One model per step.
        """
        inside = [self.start <= i / steps <= self.stop for i in range(steps)]
        chosen = [guided if yes else conditional for yes in inside]
        zeros = min(self.zero_init_steps, steps)
        return (zero_velocity,) * zeros + tuple(chosen[zeros:])


def zero_velocity(
    x_t: Float[Tensor, " tokens *features"], t: Float[Tensor, " samples"], /
) -> Float[Tensor, " tokens *features"]:
    """A velocity that moves nothing."""
    del t
    return torch.zeros_like(x_t)
