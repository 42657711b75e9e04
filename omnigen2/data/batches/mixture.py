"""The loader: batches of mixed tasks, resumable anywhere, with any number of ranks and workers."""

import signal
import warnings
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict, assert_never

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from omnigen2.data.batches.collate import Batch, Collate
from omnigen2.data.batches.planner import Pick, Planner, PlannerState
from omnigen2.data.batches.ranks import Exchange, LeftOut, Replica
from omnigen2.data.samples import DataError
from omnigen2.files import MOST_STEPS, check_most

Epochs: TypeAlias = Literal["continue", "repeat"]
LOST_TOGETHER = 100
"""So many steps in a row may be lost because one of several ranks had nothing left of each."""
NAMED = 10
"""So many broken samples are named to whoever asks; all are counted."""


class MixtureState(TypedDict):
    """What a checkpoint keeps of a `Mixture`.

    Attributes:
        planner: Where the plan is after the last batch that was handed out.
        broken: How often a broken sample was skipped so far, by any rank.
        named: What is wrong with the first of them.
        lost: Planned steps without a batch, because all of its samples were broken; none if it is missing.
    """

    planner: PlannerState
    broken: int
    named: NotRequired[list[str]]
    lost: NotRequired[int]


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

    Attributes:
        broken: How often a broken sample was skipped, by any rank; of validation, in its last turn.
        named: What is wrong with the first `NAMED` of them.

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
        check_most("steps", steps, MOST_STEPS, DataError)
        check_most("workers", workers, 1024, DataError)
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
        self.named: list[str] = []
        self._first = planner.state_dict()
        self._state = self._first
        self._lost = 0
        self._loaded = False

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        """Yield one epoch; the rest of it where a state was loaded or the last iteration was left in its middle.

        A planned step whose samples are all broken has no batch, and the next one takes its turn. Ranks do so together:
        where one of them has nothing left, the others leave what they have of this step.

        Raises:
            DataError: If a sample is refused, or nothing could be read for a whole epoch of the sources.
        """
        match self.epochs:
            case "continue":
                again = False
            case "repeat":
                again = not self._loaded
            case _:
                assert_never(self.epochs)
        if again:
            self._state, self._lost, self.broken, self.named = self._first, 0, 0, []
        self._loaded = False
        left = self.steps - (self._state["step"] - self._lost) % self.steps
        in_a_row = steps = 0
        replica, exchange = self.replica or Replica.here(), self._exchange()
        while left:
            for batch in self._planned(left, replica):
                found = exchange(len(batch), batch.broken) if exchange else LeftOut(len(batch), batch.broken)
                self._note(found)
                if found.fewest:
                    left, in_a_row, steps = left - 1, 0, 0
                    yield batch
                else:
                    self._lost += 1
                    in_a_row, steps = in_a_row + len(found.broken), steps + 1
                    self._check_lost(found, in_a_row, steps, replica, exchange)

    def _exchange(self) -> Exchange | None:
        """What ranks that may leave samples out tell one another by; None if there is one, or they cannot talk."""
        return Exchange() if self.collate.broken == "skip" and Replica.here().world > 1 else None

    def _note(self, found: LeftOut) -> None:
        self.broken += len(found.broken)
        self.named = list(dict.fromkeys([*self.named, *found.broken]))[:NAMED]

    def _planned(self, steps: int, replica: Replica) -> Iterator[Batch]:
        """The batches of the next steps of the plan, those without examples among them."""
        self.planner.load_state_dict(self._state)
        plan = _Plan(self.planner, steps, replica)
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
            for problem in batch.broken:
                warnings.warn(f"left out: {problem}", stacklevel=2)
            yield batch

    def _check_lost(
        self, found: LeftOut, in_a_row: int, steps: int, replica: Replica, exchange: Exchange | None
    ) -> None:
        """Refuse to go on without a batch where the ranks would come apart, or for ever.

        Args:
            in_a_row: Samples that were broken in the lost steps since the last batch.
            steps: How many steps that is.

        Raises:
            DataError: If so.
        """
        first = found.broken[0] if found.broken else "none was planned"
        if not found.broken or (replica.world > 1 and exchange is None):
            problem = (
                f"all {len(found.broken)} samples of a batch are broken, and other ranks do not know it, the first"
            )
            raise DataError(f"{problem}: {first}", "repair the files where they lie")
        if replica.world > 1:
            if steps >= LOST_TOGETHER:
                problem = (
                    f"{steps} steps in a row are lost, since one of {replica.world} ranks had nothing left of each"
                )
                raise DataError(f"{problem}, the last: {first}", "check the data")
            if replica.rank == 0:
                warnings.warn("left out: a step of all ranks, since one of them has nothing left", stacklevel=3)
        elif in_a_row >= sum(len(source) for source in self.planner.sources.values()):
            raise DataError(f"{in_a_row} samples in a row are broken, the last of them: {first}", "check the data")

    @property
    def skipped(self) -> dict[str, int]:
        """How many samples of each source were above the budget and skipped, up to the last batch."""
        return dict(self._state["skipped"])

    def state_dict(self) -> MixtureState:
        """Return the position after the last batch, for a checkpoint."""
        return MixtureState(planner=self._state, broken=self.broken, named=list(self.named), lost=self._lost)

    def load_state_dict(self, state: MixtureState) -> None:
        """Go to the position of a checkpoint, which a mixture of the same sources and seed has written."""
        self.planner.load_state_dict(state["planner"])
        self._state = self.planner.state_dict()
        self.broken = state["broken"]
        self.named = list(state.get("named", ()))
        self._lost = state.get("lost", 0)
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
