"""A loader whose batches are a pure function of the step, so that a run can stop and go on anywhere.

Lightning restores a loader in the middle of an epoch when the loader has `state_dict` and
`load_state_dict`; and it asks for the state at the right moment only when the loader has a length,
because it fetches one batch ahead otherwise. `StepLoader` has all three.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from omnigen2.files import MOST_STEPS, check_most

Batch = TypeVar("Batch")


class StepLoader(Generic[Batch]):
    """Yields `batch_fn(0), batch_fn(1), …, batch_fn(steps - 1)` in every epoch.

    The law: after any number of batches, a new loader that loads the state of this one yields
    exactly the batches that this one would have yielded. It holds when `batch_fn` depends on the
    step alone (seed a generator with the seed and the step; use no global random state).

    For a stream of new batches make one epoch as long as the training. To shorten an epoch give
    fewer steps; do not use the Trainer's `limit_train_batches`, which hides the epoch's end from
    the loader.

    Args:
        batch_fn: Makes the batch of one step; called in this process, once per step.
        steps: Number of batches in one epoch, at least 1.

    Raises:
        ValueError: If `steps` is less than 1.
    """

    def __init__(self, batch_fn: Callable[[int], Batch], steps: int) -> None:
        check_most("steps", steps, MOST_STEPS)
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self.batch_fn = batch_fn
        self.steps = steps
        self._step = 0
        self._start = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        """Yield one epoch; after `load_state_dict`, first the rest of the epoch that was interrupted."""
        start, self._start = self._start, 0
        for step in range(start, self.steps):
            batch = self.batch_fn(step)
            self._step = step + 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the position, for a checkpoint."""
        return {"step": self._step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to the position that `state_dict` of a loader with the same `batch_fn` returned.

        Raises:
            ValueError: If an epoch of this loader has no such position.
        """
        step = state["step"]
        if not 0 <= step <= self.steps:
            raise ValueError(f"the state is at step {step}, but this loader has {self.steps} steps")
        self._step = step
        self._start = step % self.steps
