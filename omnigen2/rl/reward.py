"""What a reward is: pictures in, one number each out, or the cause why there is none. Needs torch alone.

A judgement that failed is `valid=False` with its cause. It never becomes a number, so it cannot teach anything: the
advantages leave invalid members out of their group.
"""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from omnigen2.errors import UserError

Picture: TypeAlias = Float[Tensor, "3 _ _"]
"""In [-1, 1], shape (3, height, width)."""
PerSample: TypeAlias = Float[Tensor, " samples"]


class RewardError(UserError):
    """A reward that cannot be used: what was got, what was expected; what to do."""


@dataclass(frozen=True, slots=True)
class RewardRequest:
    """One picture to be scored.

    Attributes:
        prompt: The instruction that the picture was made for.
        image: The picture in [-1, 1], shape (3, height, width).
        references: The pictures that were given with the instruction, in its order; an edit has one.
        meta: Text that travels with the sample, such as its task in JSON.
        key: Names the sample in messages.
    """

    prompt: str
    image: Picture
    references: tuple[Picture, ...] = ()
    meta: str = ""
    key: str = "<sample>"

    @property
    def images(self) -> tuple[Picture, ...]:
        """The references, then the picture."""
        return (*self.references, self.image)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one picture got.

    Attributes:
        value: The reward, finite; higher is better.
        parts: The scores that it was made of, by name.
        reason: In words, for people; empty if there is none.
    """

    value: float
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one picture got no reward.

    Attributes:
        cause: In a few words without a colon, the same for all failures of a kind: they are counted by it.
        detail: What happened this time.
        transient: Whether it says nothing about the picture and asking again may help: nobody was there, or too slow.
            Set where the failure is made, and kept on every way from there.
    """

    cause: str
    detail: str = ""
    transient: bool = False

    def __str__(self) -> str:
        return f"{self.cause}: {self.detail}" if self.detail else self.cause


Outcome: TypeAlias = Judgement | Failure


@dataclass(frozen=True, slots=True)
class Scores:
    """What a batch of pictures got; everything has one entry per request, in the order of the requests.

    Attributes:
        value: The rewards, float32, shape (samples,); finite where valid, NaN elsewhere.
        valid: Where there is a reward, shape (samples,).
        parts: The scores that the rewards were made of, by name; each float32, shape (samples,), NaN where invalid.
        problem: Why a member is invalid; None where it is valid.
        reason: In words, for people; empty where nothing was said.

    Raises:
        RewardError: If lengths differ, a valid value is not finite, an invalid one is not NaN, or an invalid member
            has no problem.
    """

    value: PerSample
    valid: Bool[Tensor, " samples"]
    parts: dict[str, PerSample]
    problem: tuple[Failure | None, ...]
    reason: tuple[str, ...]

    def __post_init__(self) -> None:
        columns = {"value": self.value} | {f"part {name}": part for name, part in self.parts.items()}
        for name, column in {**columns, "valid": self.valid}.items():
            if column.ndim != 1:
                raise RewardError(f"{name} has the shape {tuple(column.shape)}, expected ({len(self)},); flatten it")
        if self.valid.dtype != torch.bool:
            raise RewardError(f"valid holds {self.valid.dtype}, expected torch.bool; say True where there is a reward")
        lengths = {name: column.shape[0] for name, column in columns.items()}
        lengths |= {"valid": self.valid.shape[0], "problem": len(self.problem), "reason": len(self.reason)}
        if len(set(lengths.values())) > 1:
            raise RewardError(f"Scores needs one entry per request in everything, got {lengths}; fill what is missing")
        if wrong := {name: str(column.dtype) for name, column in columns.items() if column.dtype != torch.float32}:
            raise RewardError(f"Scores are float32, got {wrong}; convert values and parts")
        for number, ok in enumerate(self.valid.tolist()):
            value, problem = float(self.value[number]), self.problem[number]
            if ok != math.isfinite(value) or ok != (problem is None) or not (ok or math.isnan(value)):
                raise RewardError(
                    f"member {number} is {'valid' if ok else 'invalid'} with value {value} and problem {problem!r}; "
                    "valid members have a finite value and no problem, invalid ones NaN and a problem"
                )

    def __len__(self) -> int:
        return len(self.problem)

    @classmethod
    def collect(cls, outcomes: Sequence[Outcome], part_names: Iterable[str] = ()) -> "Scores":
        """Put single outcomes together.

        Args:
            outcomes: One per request.
            part_names: The parts of every judgement; failures get NaN for each.

        Raises:
            RewardError: If a judgement has other parts, or a value that is not finite.
        """
        names = tuple(part_names)
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, Judgement) and set(outcome.parts) != set(names):
                raise RewardError(
                    f"judgement {number} has the parts {sorted(outcome.parts)}, expected {sorted(names)}; "
                    "give every judgement of a reward the same parts"
                )
        judged = [outcome if isinstance(outcome, Judgement) else None for outcome in outcomes]
        return cls(
            value=_column([math.nan if one is None else one.value for one in judged]),
            valid=torch.tensor([one is not None for one in judged], dtype=torch.bool),
            parts={name: _column([math.nan if one is None else one.parts[name] for one in judged]) for name in names},
            problem=tuple(outcome if isinstance(outcome, Failure) else None for outcome in outcomes),
            reason=tuple("" if one is None else one.reason for one in judged),
        )

    def outcomes(self) -> list[Outcome]:
        """What each picture got: `collect` backwards."""
        values, parts = self.value.tolist(), {name: part.tolist() for name, part in self.parts.items()}
        return [
            problem or Judgement(values[i], {name: part[i] for name, part in parts.items()}, self.reason[i])
            for i, problem in enumerate(self.problem)
        ]

    @classmethod
    def concatenate(cls, batches: Sequence["Scores"]) -> "Scores":
        """Join the scores of several batches of one reward, one behind the other.

        Raises:
            RewardError: If there is none, or their parts differ.
        """
        names = {tuple(sorted(batch.parts)) for batch in batches}
        if len(names) != 1:
            raise RewardError(f"expected batches of one reward, got the parts {sorted(names)}; join like with like")
        return cls.collect([outcome for batch in batches for outcome in batch.outcomes()], batches[0].parts)

    def take(self, members: Sequence[int]) -> "Scores":
        """Those of some members, in the wanted order."""
        outcomes = self.outcomes()
        return self.collect([outcomes[member] for member in members], self.parts)

    def causes(self) -> dict[str, int]:
        """How many members are invalid, by cause."""
        return dict(Counter(problem.cause for problem in self.problem if problem is not None))


class Reward(ABC):
    """Scores pictures; higher is better.

    Attributes:
        low: The least value that `score` gives.
        high: The largest.
        description: What is scored and how, one line.
        part_names: The names of `Scores.parts`.
        remote: Whether `score` mostly waits for other machines, so that something else can be done meanwhile.
    """

    low: float
    high: float
    description: str
    part_names: tuple[str, ...] = ()
    remote: bool = False

    @abstractmethod
    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        """Score a batch: one entry per request, in their order, on the CPU.

        May be called from any thread, one call at a time.
        """

    def probe(self) -> None:  # noqa: B027  (most rewards have nothing to try)
        """Find out before training whether the reward can work; it raises a `RewardError` if not."""


def check_scores(reward: Reward, requests: Sequence[RewardRequest], scores: Scores) -> Scores:
    """Return scores if they are what their reward promises.

    Raises:
        RewardError: If there are more or fewer than requests, other parts, or a value outside of the range.
    """
    name = type(reward).__name__
    if len(scores) != len(requests):
        raise RewardError(f"{name} gave {len(scores)} scores for {len(requests)} requests; it must give one for each")
    if set(scores.parts) != set(reward.part_names):
        raise RewardError(f"{name} gave the parts {sorted(scores.parts)}, but names {sorted(reward.part_names)}")
    slack = 1e-5 * max(1.0, abs(reward.low), abs(reward.high))
    outside = scores.valid & ((scores.value < reward.low - slack) | (scores.value > reward.high + slack))
    if bool(outside.any()):
        first = int(outside.nonzero()[0])
        raise RewardError(
            f"{name} gave {float(scores.value[first])} for {requests[first].key}, outside of its range "
            f"[{reward.low}, {reward.high}]; mend the reward or its range"
        )
    return scores


def unusable_picture(request: RewardRequest) -> Failure | None:
    """Why a request cannot be scored at all: a picture is empty or has values that are not finite."""
    names = (*(f"reference {number}" for number in range(1, len(request.images))), "image")
    for name, image in zip(names, request.images, strict=True):
        if image.numel() == 0 or not bool(image.isfinite().all()):
            return Failure("bad picture", f"the {name} is empty or has values that are not finite")
    return None


def _column(values: Sequence[float]) -> PerSample:
    return torch.tensor(values, dtype=torch.float32)
