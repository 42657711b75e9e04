"""Names that programs give to objects must not get into instructions: the released X2I2 data speak of `man-1`."""

import re
from collections.abc import Sequence

from typing_extensions import override

from omnigen2.curation import Dropped, Item, OpenClip, Outcome, Step

MARKS = re.compile(
    r"<[^<>\s][^<>]*>"  # <obj_2>
    r"|\[[^\[\]]*\d[^\[\]]*\]"  # [subject 1]
    r"|\b[a-zA-Z]+_\d+\b|\b\w+_(?:id|idx|obj)\b"  # person_3
    r"|\b[a-zA-Z]{2,}#\d+\b"  # dog#2
    r"|\b(?:obj|object|subject|entity|instance|region|mask|bbox|box|track|id)[ -]?#?\d+\b",  # object 2
    re.IGNORECASE,
)
NUMBERED = re.compile(r"\b([a-zA-Z]{2,})-(\d{1,2})\b")
"""A word and a small number: `man-1`."""
NAMES = frozenset(
    {"covid", "formula", "route", "area", "apollo", "boeing", "catch", "pac", "top", "mid", "pre", "post"}
)
"""Words that stand before a number in plain English."""


def leaked_ids(text: str) -> list[str]:
    """What looks like a name that a program has given: when in doubt, it does."""
    found = [match[0] for match in MARKS.finditer(text)]
    return found + [match[0] for match in NUMBERED.finditer(text) if match[1].lower() not in NAMES]


class NoIds(Step):
    """Drops items whose instruction has such names."""

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        found = [leaked_ids(item.instruction) for item in items]
        return [
            Dropped("an id in the instruction", f"{', '.join(ids)} in: {item.instruction[:200]}") if ids else (item,)
            for item, ids in zip(items, found, strict=True)
        ]
