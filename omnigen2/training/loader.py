"""A loader whose batches are a pure function of the step, so that a run can stop and go on anywhere.

Lightning restores a loader in the middle of an epoch when the loader has `state_dict` and
`load_state_dict`; and it asks for the state at the right moment only when the loader has a length,
because it fetches one batch ahead otherwise. `StepLoader` has all three.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypedDict, TypeVar

Batch = TypeVar("Batch")


class LoaderState(TypedDict):
    """What a checkpoint keeps of a `StepLoader`."""

    step: int


class StepLoader(Generic[Batch]):
    """Yields `batch_fn(0), batch_fn(1), …, batch_fn(steps - 1)` once per epoch.

    The law: after any number of batches, a new loader that loads the state of this one yields
    exactly the batches that this one would have yielded. It holds when `batch_fn` depends on the
    step alone (seed a generator with the seed and the step; use no global random state).

    Later epochs go on counting: epoch `e` yields `batch_fn(e * steps)` and so on, so that a second
    epoch brings new batches when `batch_fn` makes them on the fly. For a finite data set, take the
    step modulo its length inside `batch_fn`.

    Args:
        batch_fn: Makes the batch of one step; called in this process, once per step.
        steps: Number of batches in one epoch, at least 1.

    Raises:
        ValueError: If `steps` is less than 1.
    """

    def __init__(self, batch_fn: Callable[[int], Batch], steps: int) -> None:
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self.batch_fn = batch_fn
        self.steps = steps
        self._step = 0

    @property
    def step(self) -> int:
        """The step whose batch comes next, counted over all epochs."""
        return self._step

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rest of the epoch the loader stands in; a whole epoch if it stands at its start."""
        end = (self._step // self.steps + 1) * self.steps
        while self._step < end:
            batch = self.batch_fn(self._step)
            self._step += 1
            yield batch

    def state_dict(self) -> LoaderState:
        """Return the position, for a checkpoint."""
        return LoaderState(step=self._step)

    def load_state_dict(self, state: LoaderState) -> None:
        """Go to the position of a checkpoint.

        Args:
            state: What `state_dict` of a loader with the same `batch_fn` returned.

        Raises:
            ValueError: If the position is negative.
        """
        if state["step"] < 0:
            raise ValueError(f"the step of a loader is at least 0, got {state['step']}")
        self._step = state["step"]
