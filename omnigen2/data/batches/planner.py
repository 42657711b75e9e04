"""Which samples make the batch of which step on which rank: pure arithmetic, no files are read."""

import math
import zlib
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Literal, NamedTuple, TypeAlias, TypedDict, assert_never

import numpy as np

from omnigen2.data.batches.budget import TokenBudget
from omnigen2.data.samples import DataError, Source

Mixing: TypeAlias = Literal["batch", "sample"]


class Pick(NamedTuple):
    """One sample of a batch.

    Attributes:
        source: Its name.
        epoch: How often all of the source was drawn before, counted from 0.
        number: Of the sample in the source.
    """

    source: str
    epoch: int
    number: int


class PlannerState(TypedDict):
    """Where a planner is; independent of ranks, workers, weights and budget.

    Attributes:
        step: Steps planned so far.
        drawn: Samples drawn so far from each source, those skipped included, all ranks together.
        skipped: Samples of each source that were above the budget.
        lengths: Number of samples of each source.
        seed: Of order and choice.
    """

    step: int
    drawn: dict[str, int]
    skipped: dict[str, int]
    lengths: dict[str, int]
    seed: int


@dataclass(frozen=True)
class _Order:
    epoch: int
    indices: np.ndarray


class Planner:
    """Mixes sources by weight and packs batches up to a budget of tokens.

    Each source is an endless stream: all of its samples in random order, then all again in another order. A sample is
    drawn exactly once per epoch of its source, whatever the number of ranks; nothing is dropped at the end of an
    epoch, batches go on into the next. The plan is a function of the seed and of how much was drawn: every rank makes
    the plan of all ranks, and a run that goes on with another number of ranks goes on with the next sample.

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
        self._step = 0
        self._drawn = dict.fromkeys(self.names, 0)
        self._skipped = dict.fromkeys(self.names, 0)
        self._in_a_row = dict.fromkeys(self.names, 0)
        self._orders: dict[str, _Order] = {}

    def next_step(self, world: int) -> tuple[tuple[Pick, ...], ...]:
        """Plan one step of `world` ranks: for each a batch of at least one sample.

        Raises:
            DataError: If `world` is below 1, or a sample is above the budget and is to be refused.
        """
        if world < 1:
            raise DataError(f"world must be at least 1 rank, got {world}")
        source = self._choose("step", self._step) if self.mixing == "batch" else None
        batches = tuple(self._pack(source) for _ in range(world))
        self._step += 1
        return batches

    @property
    def skipped(self) -> dict[str, int]:
        """How many samples of each source were above the budget and skipped."""
        return dict(self._skipped)

    def state_dict(self) -> PlannerState:
        """Where the planner is."""
        return PlannerState(
            step=self._step,
            drawn=dict(self._drawn),
            skipped=dict(self._skipped),
            lengths={name: len(self.sources[name]) for name in self.names},
            seed=self.seed,
        )

    def load_state_dict(self, state: PlannerState) -> None:
        """Go on where another planner was. Weights, budget, mixing and ranks may be others than there.

        Raises:
            DataError: If the other had other sources or another seed: then no sample has the place it had there.
        """
        own = self.state_dict()
        if state["lengths"] != own["lengths"] or state["seed"] != own["seed"]:
            raise DataError(
                f"the checkpoint was made with the sources {state['lengths']} (name: samples) and seed "
                f"{state['seed']}, but these are {own['lengths']} and {own['seed']}; use the same data and seed to go "
                "on, or start a new run from the weights alone"
            )
        self._step = state["step"]
        self._drawn = dict(state["drawn"])
        self._skipped = dict(state["skipped"])

    def _choose(self, kind: str, position: int) -> str:
        return self.names[bisect(self._edges, uniform(self.seed, kind, position) * self._edges[-1])]

    def _pack(self, fixed: str | None) -> tuple[Pick, ...]:
        """Take samples until the next does not fit; that one stays first in its stream."""
        picks: list[Pick] = []
        room = self.budget.tokens
        most = self.budget.max_samples or math.inf
        while len(picks) < most:
            name = self._choose("sample", sum(self._drawn.values())) if fixed is None else fixed
            pick = self._peek(name)
            cost = self.budget.cost(self.sources[name].sizes(pick.number))
            if cost > self.budget.tokens:
                self._leave_out(pick, cost)
            elif cost > room:
                break
            else:
                room -= cost
                picks.append(pick)
                self._drawn[name] += 1
                self._in_a_row[name] = 0
        return tuple(picks)

    def _peek(self, name: str) -> Pick:
        epoch, place = divmod(self._drawn[name], len(self.sources[name]))
        if name not in self._orders or self._orders[name].epoch != epoch:
            generator = np.random.default_rng((self.seed, zlib.crc32(f"order {name}".encode()), epoch))
            self._orders[name] = _Order(epoch, self.sources[name].order(generator))
        return Pick(name, epoch, int(self._orders[name].indices[place]))

    def _leave_out(self, pick: Pick, cost: int) -> None:
        problem = (
            f"sample {pick.number} of source {pick.source} takes {cost} tokens, a batch has {self.budget.tokens}; "
            "raise the budget, or lower max_pixels or reference_pixels of its resize policy"
        )
        match self.budget.oversized:
            case "refuse":
                raise DataError(problem, arguments={"oversized": "set {} to skip"})
            case "skip":
                self._drawn[pick.source] += 1
                self._skipped[pick.source] += 1
                self._in_a_row[pick.source] += 1
                length = len(self.sources[pick.source])
                if self._in_a_row[pick.source] >= 2 * length:
                    raise DataError(f"all {length} samples of source {pick.source} are above the budget: {problem}")
            case _:
                assert_never(self.budget.oversized)


def uniform(*key: int | str) -> float:
    """A random number in [0, 1) that is a function of its key (seed, purpose, position), and cheap."""
    digest = blake2b(" ".join(map(str, key)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


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
