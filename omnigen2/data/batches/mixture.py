"""The loader: batches of mixed tasks, resumable anywhere, with any number of ranks and workers."""

import signal
import warnings
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict, assert_never, cast

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from omnigen2.data.batches.collate import Batch, Collate
from omnigen2.data.batches.planner import Plan, Planner, PlannerState, RankState
from omnigen2.data.batches.ranks import Exchange, LeftOut, Replica
from omnigen2.data.batches.stream import Pick
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
        planner: Where all ranks are after the last batch that was handed out.
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
    ranks the rest of each epoch is shared out anew, but no sample is lost or repeated. Lightning saves and restores
    the state by itself, on all ranks, and does so between the right batches because the loader has a length.

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
        position: Where this rank is after the last batch that was handed out; None before it is known which it is.

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
        self._begun = planner.state()
        self.position: RankState | None = None
        self._rank: Replica | None = None
        self._told: tuple[object, Exchange] | None = None
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
            self._begun, self.position = self.planner.state(), None
            self._lost, self.broken, self.named = 0, 0, []
        self._loaded = False
        replica = self.replica or Replica.here()
        if self.position is None:
            self._rank, self.position = replica, self.planner.begin(replica, self._begun).state()
        elif replica != self._rank:
            raise DataError(f"this loader was begun as {self._rank} and is now {replica}; load its state first")
        left = self.steps - (self.position["step"] - self._lost) % self.steps
        in_a_row = steps = 0
        exchange = self._exchange() if self.collate.broken == "skip" else None
        while left:
            for batch in self._planned(left, replica):
                found = exchange.left_out(len(batch), batch.broken) if exchange else LeftOut(len(batch), batch.broken)
                self._note(found)
                if found.fewest:
                    left, in_a_row, steps = left - 1, 0, 0
                    yield batch
                else:
                    self._lost += 1
                    in_a_row, steps = in_a_row + len(found.broken), steps + 1
                    self._check_lost(found, in_a_row, steps, replica, exchange)

    def _exchange(self) -> Exchange | None:
        """What ranks tell one another by; None if there is one, or they cannot talk. All must call this together."""
        here = Replica.here()
        if here.world == 1 or self.replica not in (None, here):
            return None
        group = torch.distributed.group.WORLD
        if self._told is None or self._told[0] is not group:
            self._told = (group, Exchange())
        return self._told[1]

    def _note(self, found: LeftOut) -> None:
        self.broken += len(found.broken)
        self.named = list(dict.fromkeys([*self.named, *found.broken]))[:NAMED]

    def _planned(self, steps: int, replica: Replica) -> Iterator[Batch]:
        """The batches of the next steps of the plan, those without examples among them."""
        plan = _Steps(Plan(self.planner, replica, self.position), steps)
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
            self.position = plan.states.popleft()
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
        """How many samples of each source were above the budget and skipped by this rank, up to the last batch."""
        sources = {} if self.position is None else self.position["sources"]
        return {name: sources[name]["skipped"] if name in sources else 0 for name in self.planner.names}

    def state_dict(self) -> MixtureState:
        """Return the position of all ranks after the last batch, for a checkpoint; all of them must call this.

        Raises:
            DataError: If ranks are at different steps, or cannot tell one another where they are.
        """
        state = self._begun
        if self.position is not None:
            exchange = self._exchange()
            ranks = [self.position] if exchange is None else cast(list[RankState], exchange.everyone(self.position))
            if self._rank is not None and len(ranks) != self._rank.world:
                raise DataError(f"{self._rank} has no process group to ask the other ranks for their position by")
            if len({rank["step"] for rank in ranks}) > 1:
                raise DataError(
                    f"the position in the data was asked for where ranks are at the steps {[r['step'] for r in ranks]}",
                    "ask for it on all ranks after the same batch",
                )
            state = self.planner.state(*ranks)
        return MixtureState(planner=state, broken=self.broken, named=list(self.named), lost=self._lost)

    def load_state_dict(self, state: MixtureState) -> None:
        """Go to the position of a checkpoint, which a mixture of the same sources and seed has written."""
        self.planner.check(state["planner"])
        self._begun, self.position = state["planner"], None
        self.broken = state["broken"]
        self.named = list(state.get("named", ()))
        self._lost = state.get("lost", 0)
        self._loaded = True


class _Steps(Sampler[tuple[Pick, ...]]):
    """Hands out the picks of a plan, and keeps its state after each step until the batch has come back."""

    def __init__(self, plan: Plan, steps: int) -> None:
        self.plan = plan
        self.steps = steps
        self.states: deque[RankState] = deque()

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Pick, ...]]:
        for _ in range(self.steps):
            picks = self.plan.next_step()
            self.states.append(self.plan.state())
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
