"""How judged pictures were drawn, as far as their files say: numbers of other settings are other numbers."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from omnigen2.evaluation.judging import BenchmarkItem, BenchmarkResult, Drawn
from omnigen2.files import markdown_table

Parameters: TypeAlias = Callable[[Path], Mapping[str, Any] | None]
"""What the file of a picture says of how it was drawn; None if it says nothing."""
OWN = ("prompt", "images", "height", "width", "seed", "meta", "choice")
"""What differs from picture to picture and is no way of drawing."""


def drawn(items: Sequence[BenchmarkItem], parameters: Parameters) -> tuple[Drawn, ...]:
    """The ways in which the pictures that are there were drawn, the most frequent first."""
    found: Counter[str] = Counter()
    for item in items:
        if item.output.is_file():
            said = parameters(item.output) or {}
            found[json.dumps({name: said[name] for name in sorted(said) if name not in OWN})] += 1
    return tuple(Drawn(json.loads(way), count) for way, count in found.most_common())


def chosen(ways: Sequence[Drawn]) -> str:
    """How pictures were chosen, `"best of 4 by rules"`; empty if none was, as far as their files say."""
    found = [(way.settings.get("best_of", 1), chooser(way)) for way in ways]
    told = dict.fromkeys(f"best of {n} by {by}" if n != 1 else "" for n, by in found)
    names = [one for one in told if one]
    return f"{'partly ' * ('' in told)}{' or '.join(names)}" if names else ""


def chooser(way: Drawn) -> str:
    """The name of whoever chose; empty if nobody did."""
    return str(way.settings.get("chosen_by", "")).partition(": ")[0]


def titled(name: str, result: BenchmarkResult) -> str:
    """A name, and how the pictures of a result were chosen, if they were."""
    return f"{name}, {told}" if (told := chosen(result.drawn)) else name


def drawn_table(ways: Sequence[Drawn]) -> str:
    """One column for each way, and a sentence if there are several."""
    names = list(dict.fromkeys(name for way in ways for name in way.settings))
    rows = [[name, *(_told(way.settings.get(name)) for way in ways)] for name in names]
    head = ["", *(f"{way.pictures} pictures" for way in ways)]
    table = markdown_table(head, rows, right=True) if rows else "The files of the pictures do not say."
    if len(ways) < 2:
        return table
    return f"{table}\n\nThe numbers above are over all of them, though they were drawn in {len(ways)} ways."


def _told(value: object) -> str:
    return "–" if value in (None, "", []) else " ".join(str(value).replace("|", "/").split())[:100]
