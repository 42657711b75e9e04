"""What a step is, and how items go through one: none is lost, and what goes wrong with one is told of it alone."""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from typing_extensions import override

from omnigen2.curation.items import CurationError, Dropped, Item, OpenClip, Outcome

ERROR = "error"
"""Reason of items in which a step raised something: it names the exception in its detail."""


@dataclass(frozen=True)
class Resources:
    """What a step needs to work.

    Attributes:
        cpus: Of each of its workers; a share if it waits more than it works.
        gpus: Of each of its workers.
        workers: Kept alive with what they have loaded; 0 for a step that loads nothing and runs wherever a core is
            free.

    Raises:
        CurationError: If a number is negative, or a worker that lives on needs nothing.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    workers: int = 0

    def __post_init__(self) -> None:
        if not (self.cpus > 0 and self.gpus >= 0 and self.workers >= 0) or (self.gpus and not self.workers):
            raise CurationError(
                f"a step cannot have {self}", "use cpus above 0, and at least one of the workers where there are gpus"
            )


class Step(ABC):
    """One job.

    It holds settings alone, so that it can be sent to other machines; models are loaded at their first use, by steps
    whose `resources` have workers.

    Attributes:
        resources: What it needs.
        batch: Items that it is shown at a time, at most; all are of one clip.
        elsewhere: Settings that say where and how fast something is done, not what: with other values of these the
            same folder goes on. `server.urls` is a setting of the setting `server`.
    """

    resources: Resources = Resources()
    batch: int = 1
    elsewhere: ClassVar[tuple[str, ...]] = ("resources", "batch")

    @property
    def limits(self) -> Mapping[str, float]:
        """Its thresholds by name, such as `same_view.least`, in the order in which they are looked at."""
        return {}

    @property
    def checked_as(self) -> Hashable:
        """Of steps that are equal in this, the first is checked for all."""
        return id(self)

    def check(self) -> None:
        """Find out before the first clip whether it can work here.

        Raises:
            CurationError: If it cannot: a file, a package or a server is missing.
        """
        return

    def spent(self) -> Mapping[str, int]:
        """What it has used so far in this process that costs money and is not time, such as calls of a server."""
        return {}

    @abstractmethod
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        """What becomes of each item, in their order."""


class Limiting(Step):
    """A step that drops items some of whose scores lie outside of its limits.

    Limits are called `SCORE.least` and `SCORE.most`. Items that are dropped keep their scores, so that other limits can
    be tried without computing anything again.

    Attributes:
        reasons: Why an item is dropped, by the name of the limit that it breaks.
    """

    reasons: Mapping[str, str] = {}

    def decide(self, item: Item) -> Outcome:
        """What the limits say of an item that has its scores."""
        limit = next((name for name, value in self.limits.items() if broken(name, value, item.scores)), None)
        return (item,) if limit is None else Dropped(self.reasons[limit], item=item)


class Scoring(Limiting):
    """A step that finds numbers and drops what lies outside of its limits."""

    @abstractmethod
    def score(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Mapping[str, float]]:
        """The numbers of each item, by name."""

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self.decide(item.scored(found)) for item, found in zip(items, self.score(items, clip), strict=True)]


def broken(limit: str, value: float, scores: Mapping[str, float]) -> bool:
    """Whether scores break a limit, such as `same_view.least`; a score that is no number breaks every one."""
    name, _, side = limit.rpartition(".")
    return not (scores[name] >= value if side == "least" else scores[name] <= value)


@dataclass(frozen=True, slots=True)
class End:
    """An item that did not go on: where, why and what it was."""

    step: str
    reason: str
    detail: str
    transient: bool
    item: Item


@dataclass(frozen=True, slots=True)
class Count:
    """What a step did to the items of one clip; `taken` = `went_on` + the sum of `dropped`.

    Attributes:
        given: Items that came out of those that went on.
        seconds: From its begin to its end.
        cpu: Seconds of processor time, of all threads.
        spent: What `Step.spent` says that it used.
    """

    step: str
    taken: int
    went_on: int
    given: int
    dropped: Mapping[str, int]
    seconds: float
    cpu: float = 0.0
    spent: Mapping[str, int] = field(default_factory=dict[str, int])


def through(name: str, step: Step, items: Sequence[Item], clip: OpenClip) -> tuple[list[Item], list[End], Count]:
    """Let items go through a step: those that come out, those that end here, and the count.

    Args:
        name: Of the step, in its recipe.

    Raises:
        CurationError: If the step breaks its contract.
    """
    begin, cpu, before = time.monotonic(), time.process_time(), Counter(step.spent())
    given: list[Item] = []
    ended: list[End] = []
    for first in range(0, len(items), step.batch):
        batch = items[first : first + step.batch]
        for item, outcome in zip(batch, _outcomes(name, step, batch, clip), strict=True):
            if isinstance(outcome, Dropped):
                ended.append(End(name, outcome.reason, outcome.detail, outcome.transient, outcome.item or item))
            else:
                given.extend(outcome)
    dropped = Counter(end.reason for end in ended)
    went_on = len(items) - len(ended)
    seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
    spent = Counter(step.spent()) - before
    told = Count(name, len(items), went_on, len(given), dict(dropped), round(seconds, 4), round(cpu, 4), dict(spent))
    return given, ended, told


def _outcomes(name: str, step: Step, batch: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
    """What a step says, and of the item in which it raises something, that.

    Raises:
        CurationError: If it says something of other items, or nothing of one.
    """
    try:
        outcomes = step.run(batch, clip)
    except Exception as error:
        if len(batch) > 1:
            return [outcome for item in batch for outcome in _outcomes(name, step, [item], clip)]
        return [Dropped(ERROR, f"{type(error).__name__}: {' '.join(str(error).split())}"[:500])]
    if len(outcomes) != len(batch) or not all(isinstance(one, Dropped) or len(one) for one in outcomes):
        raise CurationError(
            f"the step {name} was shown {len(batch)} items and gave {len(outcomes)} outcomes, or an empty one",
            "give one or more items, or a Dropped with its reason, for each",
        )
    return outcomes
