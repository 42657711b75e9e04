"""What can be said of all examples side by side alone: copies of each other, and of what models are tested on.

It is looked at anew at every end, in the order of the clips' contents: the same clips give the same examples, whatever
they are called and whichever was done first.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from omnigen2.curation.items import Dropped, Item
from omnigen2.curation.records import Finished
from omnigen2.curation.step import Count, End, Step

Example: TypeAlias = tuple[Finished, Item]
"""An item that came through all steps, and the clip it is of."""


class Together(ABC):
    """Looks at all examples side by side, at what steps have stored of them.

    Attributes:
        drop: Whether examples that it names are left out; otherwise they stay, and the report tells of them.
    """

    drop: bool = True

    def check(self, steps: Sequence[Step]) -> None:
        """Find out before the first clip whether it can work here.

        Args:
            steps: Those of its recipe.

        Raises:
            CurationError: If it cannot: no step stores what it looks at, or a folder is missing.
        """
        return

    @abstractmethod
    def named(self, examples: Sequence[Example]) -> Mapping[int, Dropped]:
        """The places of examples of which there is something to be said, and what.

        Args:
            examples: In the order of their clips' contents.

        Raises:
            CurationError: If no step has stored what it looks at.
        """


@dataclass(frozen=True, slots=True)
class Seen:
    """What one of them has found.

    Attributes:
        name: Its own, in the recipe.
        drop: Whether what it found is left out.
        of: Examples that it has looked at.
        found: By clip and item, with what is said of it.
    """

    name: str
    drop: bool
    of: int
    found: tuple[tuple[Example, Dropped], ...]


def sift(together: Mapping[str, Together], finished: Sequence[Finished]) -> tuple[list[Finished], list[Seen]]:
    """Let all examples be looked at; those that are left out end as items of a step do, with a reason and a count."""
    told: list[Seen] = []
    kept = list(finished)
    for name, one in together.items():
        examples = [(clip, item) for clip in sorted(kept, key=lambda clip: clip.clip.content) for item in clip.kept]
        found = one.named(examples)
        told.append(Seen(name, one.drop, len(examples), tuple((examples[at], found[at]) for at in sorted(found))))
        if one.drop:
            gone = {id(item): dropped for (_, item), dropped in told[-1].found}
            kept = [_without(clip, name, gone) for clip in kept]
    return kept, told


def _without(clip: Finished, name: str, gone: Mapping[int, Dropped]) -> Finished:
    ended = tuple(
        End(name, dropped.reason, dropped.detail, False, item)
        for item in clip.kept
        if (dropped := gone.get(id(item))) is not None
    )
    left = tuple(item for item in clip.kept if id(item) not in gone)
    dropped = dict(Counter(end.reason for end in ended))
    count = Count(name, len(clip.kept), len(left), len(left), dropped, 0.0)
    return replace(clip, kept=left, ended=(*clip.ended, *ended), counts=(*clip.counts, count))
