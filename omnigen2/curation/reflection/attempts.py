"""All attempts at one prompt, round after round."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from omnigen2.curation.reflection.judge import Unjudged, Verdict
from omnigen2.curation.reflection.prompts import Prompt

How: TypeAlias = Literal["draw", "redraw", "edit"]
"""How the pictures of a round come to be: from the prompt; from the prompt again; from the last picture and the edit
that its judge asks for."""
Outcome: TypeAlias = Literal["right", "better", "wrong", "unjudged", "waiting"]
"""What a round came to: a picture with no problems; one that is better than the last; none that is; no verdict at all;
or it is not over."""

State: TypeAlias = Literal["right", "mended", "wrong", "unjudged", "waiting"]
"""How a prompt stands: its first picture is right; a later one is; none is; the first has no verdict; or a round is not
over."""


@dataclass(frozen=True, slots=True)
class Try:
    """One picture.

    Attributes:
        picture: Its PNG file, seen from the folder of its prompt.
        said: None until a judge has looked at it.
    """

    seed: int
    picture: str
    said: Verdict | Unjudged | None = None

    @property
    def judged(self) -> bool:
        """Whether nothing more will be said of it."""
        return isinstance(self.said, Verdict) or (self.said is not None and not self.said.transient)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Try":
        """What `dataclasses.asdict` made of one."""
        said: Any = values["said"]
        if said is not None and "reason" in said:
            said = Unjudged(**said)
        elif said is not None:
            problems, changes = tuple(said.pop("problems")), tuple(said.pop("changes"))
            said = Verdict(problems=problems, changes=changes, **said)
        return cls(values["seed"], values["picture"], said)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A picture that its round is about: the best one, if it is better than the one before.

    Attributes:
        round: Counted from 0, the first drawing.
    """

    round: int
    seed: int
    picture: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Attempts:
    """A prompt and what became of it.

    Attributes:
        rounds: The tries of each.
    """

    prompt: Prompt
    rounds: tuple[tuple[Try, ...], ...] = ()

    @property
    def path(self) -> tuple[Attempt, ...]:
        """From the first picture to the best; each is better than those before it."""
        found: list[Attempt] = []
        for number in filter(self.over, range(len(self.rounds))):
            best = self.best(number)
            if best is not None and (not found or best.verdict.rank > found[-1].verdict.rank):
                found.append(best)
        return tuple(found)

    def best(self, number: int) -> Attempt | None:
        """Of the pictures of a round, the one with the highest score, of equal ones the first."""
        judged = [
            Attempt(number, one.seed, one.picture, one.said)
            for one in self.rounds[number]
            if isinstance(one.said, Verdict)
        ]
        return max(judged, key=lambda one: one.verdict.rank, default=None)

    def over(self, number: int) -> bool:
        """Whether all has been said of the pictures of a round."""
        return number < len(self.rounds) and all(one.judged for one in self.rounds[number])

    @property
    def ended(self) -> bool:
        """Whether there is nothing to be mended: the last picture is right, or nothing is known of the first."""
        path = self.path
        return path[-1].verdict.right if path else self.over(0)

    @property
    def next(self) -> int | None:
        """The round that is to be begun, or to be ended; None if there is none."""
        if self.ended:
            return None
        last = len(self.rounds) - 1
        return last if self.rounds and not self.over(last) else last + 1

    @property
    def state(self) -> State:
        """How it stands."""
        path = self.path
        if path and path[-1].verdict.right:
            return "mended" if path[-1].round else "right"
        if not self.rounds or not self.over(len(self.rounds) - 1):
            return "waiting"
        return "wrong" if path else "unjudged"

    def outcome(self, number: int) -> Outcome:
        """What a round that was begun came to."""
        if not self.over(number):
            return "waiting"
        best = self.best(number)
        if best is None:
            return "unjudged"
        if best not in self.path:
            return "wrong"
        if best.verdict.right:
            return "right"
        return "better" if number else "wrong"

    def begun(self, number: int, tries: int) -> "Attempts":
        """With the tries of a round, which have seeds of their own."""
        if number < len(self.rounds):
            return self
        first = self.prompt.seed + sum(map(len, self.rounds))
        seeds = range(first, first + tries)
        return replace(self, rounds=(*self.rounds, tuple(Try(seed, f"{number}-{seed}.png") for seed in seeds)))

    def judged(self, number: int, said: Mapping[str, Verdict | Unjudged]) -> "Attempts":
        """With what was said of pictures of a round."""
        tries = tuple(replace(one, said=said.get(one.picture, one.said)) for one in self.rounds[number])
        return replace(self, rounds=(*self.rounds[:number], tries, *self.rounds[number + 1 :]))

    def asked_again(self) -> "Attempts":
        """With the pictures of the last round to be looked at again, if none of them got a verdict."""
        last = len(self.rounds) - 1
        if last < 0 or self.outcome(last) != "unjudged":
            return self
        return replace(self, rounds=(*self.rounds[:last], tuple(replace(one, said=None) for one in self.rounds[last])))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, which `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Attempts":
        """What `to_json` wrote."""
        rounds = tuple(tuple(map(Try.from_json, tries)) for tries in values["rounds"])
        return cls(Prompt(**values["prompt"]), rounds)
