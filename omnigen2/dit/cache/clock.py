"""Which step of a drawing it is, and how much of it was computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from omnigen2.errors import UserError, check_whole

Velocity: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A velocity model, from noisy states and times: `omnigen2.flow.VelocityModel`, which this room does not import."""


@dataclass
class Count:
    """How many rows went through how many blocks: a row is one picture under one branch of guidance.

    Attributes:
        computed: Rows times blocks that were computed.
        whole: What would have been computed without any reuse.
    """

    computed: int = 0
    whole: int = 0

    def skip(self, number: int) -> None:
        """Count what was not even asked for."""
        self.whole += number

    @property
    def saved(self) -> float:
        """How many times fewer were computed; 1 if nothing was reused."""
        return self.whole / self.computed if self.computed else 1.0


class Clock:
    """Tells those who reuse which step it is, since solvers give velocity models a state and times alone.

    Attributes:
        steps: Of a drawing.
        step: The present one, from 0.
        evaluation: Which evaluation of this step: Heun's solver has two, and each goes on with its own.
        drawing: Counts up when steps begin anew.
    """

    def __init__(self, steps: int) -> None:
        if check_whole("steps of a Clock", steps) < 1:
            raise UserError(f"got {steps} steps of a Clock, expected at least 1")
        self.steps = steps
        self.step = -1
        self.evaluation = 0
        self.drawing = 0

    @property
    def must_compute(self) -> bool:
        """Whether it is the first or the last step."""
        return self.step in (0, self.steps - 1)

    def models(self, models: Velocity | Sequence[Velocity]) -> tuple[Velocity, ...]:
        """One model a step, as solvers take them, each of which sets the clock.

        Args:
            models: One for all steps, or one for each.

        Raises:
            UserError: If they are no models, or more or fewer than steps.
        """
        each = tuple(models) if isinstance(models, Sequence) else (models,) * self.steps
        if len(each) != self.steps or not all(map(callable, each)):
            kinds = ", ".join(dict.fromkeys(type(one).__name__ for one in each))
            raise UserError(f"got {len(each)} models ({kinds}) for {self.steps} steps, expected functions of x_t and t")
        return tuple(self._at(step, model) for step, model in enumerate(each))

    def _at(self, step: int, model: Velocity) -> Velocity:
        def told(x_t: Tensor, t: Tensor, /) -> Tensor:
            if step < self.step:
                self.drawing += 1
            self.evaluation = self.evaluation + 1 if step == self.step else 0
            self.step = step
            return model(x_t, t)

        return told
