"""The loader: batches of mixed tasks, resumable anywhere, with any number of ranks and workers."""

import signal
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict, assert_never

import torch
import torch.distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from omnigen2.data.batches.collate import Batch, Collate
from omnigen2.data.batches.planner import Pick, Planner, PlannerState
from omnigen2.data.samples import DataError

Epochs: TypeAlias = Literal["continue", "repeat"]


class MixtureState(TypedDict):
    """What a checkpoint keeps of a `Mixture`.

    Attributes:
        planner: Where the plan is after the last batch that was handed out.
        broken: Broken samples that were skipped so far, on this rank.
    """

    planner: PlannerState
    broken: int


@dataclass(frozen=True)
class Replica:
    """Which part of each step this process trains on: rank 0 to world - 1.

    Raises:
        DataError: If the rank is out of range.
    """

    rank: int
    world: int

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise DataError(f"rank must be from 0 to world - 1, got rank {self.rank} of {self.world}")

    @classmethod
    def here(cls) -> "Replica":
        """This process as torch.distributed knows it; rank 0 of 1 if it was not started."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())
        return cls(0, 1)


class Mixture:
    """Loads what a `Planner` plans: one batch per step and rank.

    The law: after any number of batches, a new mixture that loads the state of this one yields exactly the batches
    that this one would have yielded. It holds for any number of workers, before and after. With another number of
    ranks the steps are cut anew, but no sample of an epoch is lost or repeated. Lightning saves and restores the
    state by itself, and does so between the right batches because the loader has a length.

    Args:
        planner: Sources, weights, budget, seed.
        collate: Makes the batches.
        steps: Batches of one epoch of the Trainer, at least 1. For training make it the whole length of the training.
        workers: Processes that read and decode; 0 does it in this one.
        epochs: `"continue"`: an epoch goes on where the last one ended. `"repeat"`: every epoch has the same
            batches, for validation.
        replica: Which part to load; found out when the iteration starts if None.

    Raises:
        DataError: If a number is out of range.
    """

    def __init__(
        self,
        planner: Planner,
        collate: Collate,
        steps: int,
        workers: int = 0,
        epochs: Epochs = "continue",
        replica: Replica | None = None,
    ) -> None:
        if steps < 1:
            raise DataError(f"steps must be at least 1, got {steps}")
        if workers < 0:
            raise DataError(f"workers must be at least 0, got {workers}")
        self.planner = planner
        self.collate = collate
        self.steps = steps
        self.workers = workers
        self.epochs: Epochs = epochs
        self.replica = replica
        self.broken = 0
        self._first = planner.state_dict()
        self._state = self._first
        self._loaded = False

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        """Yield one epoch; the rest of it where a state was loaded or the last iteration was left in its middle."""
        match self.epochs:
            case "continue":
                start = self._state
            case "repeat":
                start = self._state if self._loaded else self._first
            case _:
                assert_never(self.epochs)
        self._loaded = False
        self.planner.load_state_dict(start)
        plan = _Plan(self.planner, self.steps - start["step"] % self.steps, self.replica or Replica.here())
        data = _Reading(self.planner, self.collate)
        # a generator of its own: the loader must not draw from the global one, or a resumed run would differ
        own = torch.Generator().manual_seed(self.planner.seed)
        for batch in DataLoader(
            data,
            batch_size=None,
            sampler=plan,
            num_workers=self.workers,
            generator=own,
            worker_init_fn=_outlive_one_sigterm,
        ):
            if isinstance(batch, DataError):
                raise batch
            self._state = plan.states.popleft()
            self.broken += len(batch.broken)
            yield batch

    @property
    def skipped(self) -> dict[str, int]:
        """How many samples of each source were above the budget and skipped, up to the last batch."""
        return dict(self._state["skipped"])

    def state_dict(self) -> MixtureState:
        """Return the position after the last batch, for a checkpoint."""
        return MixtureState(planner=self._state, broken=self.broken)

    def load_state_dict(self, state: MixtureState) -> None:
        """Go to the position of a checkpoint, which a mixture of the same sources and seed has written."""
        self.planner.load_state_dict(state["planner"])
        self._state = self.planner.state_dict()
        self.broken = state["broken"]
        self._loaded = True


class _Plan(Sampler[tuple[Pick, ...]]):
    """Hands out this rank's picks, and keeps the planner's state after each step until its batch has come back."""

    def __init__(self, planner: Planner, steps: int, replica: Replica) -> None:
        self.planner = planner
        self.steps = steps
        self.replica = replica
        self.states: deque[PlannerState] = deque()

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Pick, ...]]:
        for _ in range(self.steps):
            picks = self.planner.next_step(self.replica.world)[self.replica.rank]
            self.states.append(self.planner.state_dict())
            yield picks


class _Reading(Dataset[Batch | DataError]):
    """Makes the batch of given picks, in whichever process it is called.

    What is wrong is returned, to be raised where it is wanted: the loader would put a traceback into its words.
    """

    def __init__(self, planner: Planner, collate: Collate) -> None:
        self.sources = planner.sources
        self.budget = planner.budget
        self.collate = collate

    def __getitem__(self, picks: Any) -> Batch | DataError:
        try:
            return self.collate(picks, self.sources, self.budget)
        except DataError as error:
            return error


def _outlive_one_sigterm(worker: int) -> None:
    """Let a worker live on after the first SIGTERM.

    Schedulers and `timeout` send it to all processes of a run. The one that trains wants batches until it has saved,
    and it ends its workers by itself, with a second one where they do not listen.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL))
