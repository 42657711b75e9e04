"""Which samples make the batch of which step on which rank: arithmetic on sizes, no sample is read."""

import math
import zlib
from bisect import bisect
from collections.abc import Mapping
from hashlib import blake2b
from itertools import accumulate
from typing import Literal, TypeAlias, TypedDict, assert_never

from omnigen2.data.batches.budget import TokenBudget
from omnigen2.data.batches.ranks import Replica
from omnigen2.data.batches.stream import Pick, Stream, StreamState, cut_anew
from omnigen2.data.samples import DataError, Source

Mixing: TypeAlias = Literal["batch", "sample"]


class RankState(TypedDict):
    """Where one rank is.

    Attributes:
        step: Steps planned so far.
        drawn: How many samples it has chosen a source for.
        sources: Where it is in each source.
    """

    step: int
    drawn: int
    sources: dict[str, StreamState]


class PlannerState(TypedDict):
    """Where all ranks are; independent of workers, weights and budget.

    Attributes:
        ranks: Where each is; nothing at the start.
        lengths: Number of samples of each source.
        chunks: Of each source, a checksum of what its orders depend on beside the seed.
        seed: Of order and choice.
    """

    ranks: list[RankState]
    lengths: dict[str, int]
    chunks: dict[str, int]
    seed: int


class Planner:
    """Mixes sources by weight and packs batches up to a budget of tokens.

    Each source is an endless stream: all of its samples in random order, then all again in another order. Each rank
    draws a part of every epoch, a share of the chunks, and so plans for itself alone; together they draw each sample
    exactly once per epoch, whatever their number, and also where it changes in between. Nothing is dropped at the end
    of an epoch, batches go on into the next; a rank may begin it before others have ended theirs.

    Args:
        sources: By name. A name is part of what its order depends on.
        weights: By name, at least 0; only their ratios count. A source of weight 0 is never drawn.
        budget: What a batch may hold.
        mixing: `"batch"`: each step has one source, the same on all ranks, chosen with the probabilities of the
            weights: weights are shares of the steps. `"sample"`: each sample has a source of its own, and batches mix
            tasks: weights are shares of the samples.
        seed: Of order and choice, at least 0.

    Raises:
        DataError: If names do not match, a weight is negative or not finite, all are 0, or a source is empty.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        weights: Mapping[str, float],
        budget: TokenBudget,
        mixing: Mixing = "batch",
        seed: int = 0,
    ) -> None:
        _check(sources, weights, seed)
        self.sources = dict(sources)
        self.budget = budget
        self.mixing: Mixing = mixing
        self.seed = seed
        self.names = [name for name in self.sources if weights[name] > 0]
        largest = max(weights.values())
        self._edges = list(accumulate(weights[name] / largest for name in self.names))
        self._chunks: dict[str, int] = {}

    def state(self, *ranks: RankState) -> PlannerState:
        """Where ranks are, all of them in their order, or none at the start."""
        if not self._chunks:
            self._chunks = {name: _fingerprint(self.sources[name]) for name in self.names}
        lengths = {name: len(self.sources[name]) for name in self.names}
        return PlannerState(ranks=list(ranks), lengths=lengths, chunks=dict(self._chunks), seed=self.seed)

    def check(self, state: PlannerState) -> None:
        """Refuse the state of a planner of other sources or another seed: no sample has the place it had there.

        Raises:
            DataError: If it is.
        """
        own = self.state()
        if "ranks" not in state:
            raise DataError(
                "the checkpoint has the position of another version of this library in the data",
                "start a new run from its weights alone",
            )
        remedy = "use the same data and seed to go on, or start a new run from the weights alone"
        if state["lengths"] != own["lengths"] or state["seed"] != own["seed"]:
            raise DataError(
                f"the checkpoint was made with the sources {state['lengths']} (name: samples) and seed "
                f"{state['seed']}, but these are {own['lengths']} and {own['seed']}; {remedy}"
            )
        if other := [name for name, chunks in own["chunks"].items() if state["chunks"][name] != chunks]:
            raise DataError(
                f"the checkpoint was made with other chunks of {', '.join(other)}, or with another window; {remedy}"
            )

    def begin(self, replica: Replica, state: PlannerState | None = None) -> "Plan":
        """The plan of one rank, from the start or going on where ranks were.

        Weights, budget and mixing may be others than theirs. With another number of ranks, what is left of each epoch
        is shared out anew.

        Raises:
            DataError: If the state is of other sources or another seed.
        """
        if state is not None:
            self.check(state)
        return Plan(self, replica, None if state is None else _of_rank(state, replica))

    def choose(self, *key: int | str) -> str:
        """A source by the weights, as a function of a key."""
        return self.names[bisect(self._edges, uniform(self.seed, *key) * self._edges[-1])]


class Plan:
    """The batches of one rank, step by step; see `Planner.begin`."""

    def __init__(self, planner: Planner, replica: Replica, state: RankState | None) -> None:
        self.planner = planner
        self.replica = replica
        self._step = 0 if state is None else state["step"]
        self._drawn = 0 if state is None else state["drawn"]
        self._streams = {
            name: Stream(
                name,
                planner.sources[name],
                planner.budget,
                planner.seed,
                replica,
                None if state is None else state["sources"][name],
            )
            for name in planner.names
        }

    def next_step(self) -> tuple[Pick, ...]:
        """Plan one step: a batch of at least one sample. A sample that does not fit stays first in its stream.

        Raises:
            DataError: If a sample is above the budget and is to be refused, or all are.
        """
        planner = self.planner
        fixed = planner.choose("step", self._step) if planner.mixing == "batch" else None
        picks: list[Pick] = []
        room = planner.budget.tokens
        most = planner.budget.max_samples or math.inf
        while len(picks) < most:
            name = planner.choose("sample", self.replica.rank, self._drawn) if fixed is None else fixed
            stream = self._streams[name]
            pick, cost = stream.peek()
            if cost > planner.budget.tokens:
                _leave_out(stream, pick, cost)
            elif cost > room:
                break
            else:
                room -= cost
                picks.append(pick)
                stream.in_a_row = 0
            stream.take()
            self._drawn += 1
        self._step += 1
        return tuple(picks)

    def state(self) -> RankState:
        """Where this rank is."""
        sources = {name: stream.state() for name, stream in self._streams.items()}
        return RankState(step=self._step, drawn=self._drawn, sources=sources)


def _of_rank(state: PlannerState, replica: Replica) -> RankState | None:
    """Where a rank is by the state of all, or by what it gets of what others have left."""
    ranks = state["ranks"]
    if not ranks:
        return None
    if len(ranks) == replica.world:
        return ranks[replica.rank]
    sources = {
        name: cut_anew([rank["sources"][name] for rank in ranks], length, replica.world)[replica.rank]
        for name, length in state["lengths"].items()
    }
    # choices of sources are functions of rank and number: no rank has come to the number of all choices together
    return RankState(step=ranks[0]["step"], drawn=sum(rank["drawn"] for rank in ranks), sources=sources)


def _leave_out(stream: Stream, pick: Pick, cost: int) -> None:
    """Count a sample that is above the budget.

    Raises:
        DataError: If it is to be refused, or if all of its source are.
    """
    budget = stream.budget
    problem = (
        f"sample {pick.number} of source {pick.source} takes {cost} tokens, a batch has {budget.tokens}; "
        "raise the budget, or lower max_pixels or reference_pixels of its resize policy"
    )
    match budget.oversized:
        case "refuse":
            raise DataError(problem, arguments={"oversized": "set {} to skip"})
        case "skip":
            stream.skipped += 1
            stream.in_a_row += 1
            length = len(stream.source)
            if stream.in_a_row == length and all(
                (budget.costs(block) > budget.tokens).all() for block in stream.source.blocks()
            ):
                raise DataError(f"all {length} samples of source {pick.source} are above the budget: {problem}")
        case _:
            assert_never(budget.oversized)


def uniform(*key: int | str) -> float:
    """A random number in [0, 1) that is a function of its key (seed, purpose, position), and cheap."""
    digest = blake2b(" ".join(map(str, key)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


def _fingerprint(source: Source) -> int:
    chunks = source.chunks()
    return zlib.crc32(chunks.lengths.astype("<i8").tobytes(), chunks.window)


def _check(sources: Mapping[str, Source], weights: Mapping[str, float], seed: int) -> None:
    """Refuse what cannot be mixed.

    Raises:
        DataError: As the planner says.
    """
    if sources.keys() != weights.keys():
        raise DataError(f"got weights for {sorted(weights)}, sources are {sorted(sources)}; give one weight for each")
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise DataError(f"the weight of {name} is {weight}; give a finite number of at least 0 (0: never drawn)")
    if not any(weights.values()):
        raise DataError(f"all weights are 0 ({', '.join(weights) or 'no sources'}); make one of them positive")
    empty = [name for name, weight in weights.items() if weight > 0 and not len(sources[name])]
    if empty:
        raise DataError(f"{', '.join(empty)} has no samples but a weight above 0; fill it, or give it weight 0")
    if seed < 0:
        raise DataError(f"seed must be at least 0, got {seed}")
