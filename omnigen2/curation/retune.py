"""Other thresholds on scores that are there: what would be kept and dropped, without running a model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omnigen2.curation.items import CurationError, Item
from omnigen2.curation.recipe import build_together
from omnigen2.curation.records import Finished, example, lines
from omnigen2.curation.step import broken
from omnigen2.curation.store import EXAMPLES, SETTINGS, Store
from omnigen2.curation.together import Together, sift
from omnigen2.files import markdown_table, plain_name, write_text

Reason = tuple[str, str]
"""A step, and why it drops an item."""


@dataclass(frozen=True)
class Retuned:
    """What other thresholds would come to.

    Attributes:
        kept: Of items that came through all steps, those that still would.
        before: Dropped items by reason, as it was.
        after: The same with the other thresholds.
        waiting: Items that would go on now, by the step that had dropped them: what comes after it has not been done
            with them.
    """

    kept: tuple[tuple[Finished, Item], ...]
    kept_before: int
    before: Mapping[Reason, int]
    after: Mapping[Reason, int]
    waiting: Mapping[str, int]

    def table(self) -> str:
        """What changes, in Markdown."""
        rows = [["kept", str(self.kept_before), str(len(self.kept))]]
        for step, reason in dict.fromkeys((*self.before, *self.after)):
            numbers = (self.before.get((step, reason), 0), self.after.get((step, reason), 0))
            rows.append([f"{step}: {reason}", *map(str, numbers)])
        rows += [[f"would go on behind {step}", "0", str(number)] for step, number in self.waiting.items()]
        return markdown_table(("what becomes of items", "before", "now"), rows, right=True)


def retune(out: Path, thresholds: Mapping[str, float], examples: str | None = None) -> Retuned:
    """Try other thresholds on what a curation has found.

    Args:
        out: Its folder.
        thresholds: By the names of limits, such as `same_view.least`.
        examples: Name of a jsonl file in that folder, to be written with the examples that would be kept.

    Raises:
        CurationError: If this is no folder of a curation, or a threshold or a name is none.
    """
    store = Store(out)
    known = store.settings()
    steps: dict[str, dict[str, Any]] = {name: dict(limits) for name, limits in known["limits"].items()}
    names = [limit for limits in steps.values() for limit in limits]
    for name, value in thresholds.items():
        if name not in names:
            raise CurationError(f"there is no threshold {name!r}", f"there are {', '.join(names) or 'none'}")
        for limits in steps.values():
            if name in limits:
                limits[name] = {**limits[name], "value": value}
    if examples is not None:
        plain_name(examples, "the file of examples", CurationError)
        if not examples.endswith(".jsonl") or examples == EXAMPLES:
            raise CurationError(f"{examples} is not written", f"give a name that ends in .jsonl and is not {EXAMPLES}")
    together = build_together(known.get("together", {}), str(store.folder / SETTINGS))
    result = _tried(store.finished(), steps, together)
    if examples is not None:
        folder, settings = store.folder, known["settings"]
        said = (example(settings["task"], item, one, folder, known["identity"]) for one, item in result.kept)
        write_text(folder / examples, lines(said))
    return result


def _tried(
    finished: Sequence[Finished], steps: Mapping[str, Mapping[str, Any]], together: Mapping[str, Together]
) -> Retuned:
    """What becomes of all items, with what looks at all examples looking at those that stay."""
    stayed: list[Finished] = []
    after: Counter[Reason] = Counter()
    waiting: Counter[str] = Counter()
    order = list(steps)
    for one in finished:
        reasons = [_first(item, steps, order) for item in one.kept]
        after.update(reason for reason in reasons if reason is not None)
        kept = tuple(item for item, reason in zip(one.kept, reasons, strict=True) if reason is None)
        stayed.append(replace(one, kept=kept, ended=()))
        for end in one.ended:
            by_limit = end.reason in [limit["reason"] for limit in steps[end.step].values()]
            until = order.index(end.step) + by_limit
            reason = _first(end.item, steps, order[:until])
            if reason is None and by_limit:
                waiting[end.step] += 1
            else:
                after[reason or (end.step, end.reason)] += 1
    was, _ = sift(together, finished)
    sifted, _ = sift(together, stayed)
    after.update(_ends(sifted))
    kept_now = tuple((one, item) for one in sifted for item in one.kept)
    return Retuned(kept_now, sum(len(one.kept) for one in was), _ends(was), after, waiting)


def _ends(finished: Sequence[Finished]) -> Counter[Reason]:
    return Counter((end.step, end.reason) for one in finished for end in one.ended)


def _first(item: Item, steps: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> Reason | None:
    """The first of some steps that would drop an item, and why."""
    for step in order:
        for name, limit in steps[step].items():
            if broken(name, limit["value"], item.scores):
                return step, limit["reason"]
    return None
