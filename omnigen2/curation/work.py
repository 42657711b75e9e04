"""What a worker does with one clip: steps one after another, from a row of JSON to a row of JSON.

A pipeline is cut into stages where its steps need other resources. The first stage opens a draft, the last one makes it
whole; in between a row holds the items. A clip that kills its worker is given up after some attempts, and told.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

from omnigen2.curation.items import Clip, Item, OpenClip
from omnigen2.curation.recipe import Recipe
from omnigen2.curation.records import Finished, check_whole
from omnigen2.curation.step import Count, End, Resources, Step, through
from omnigen2.curation.store import Store, attempt
from omnigen2.errors import UserError

DIED = "its worker died"
"""Reason of all items of a clip that kills whoever works on it."""
PROGRAMS = ("omnigen2", "av", "scenedetect-headless", "transformers", "diffusers")


@dataclass(frozen=True)
class Row:
    """A clip on its way through the stages.

    Attributes:
        file: The clip.
        draft: Its folder; empty before the first stage.
    """

    clip: Clip
    file: str
    draft: str = ""
    items: tuple[Item, ...] = (Item(),)
    ended: tuple[End, ...] = ()
    counts: tuple[Count, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, which `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Row":
        """What `to_json` wrote."""
        whole = Finished.from_json(Path(values["draft"]), {**values, "kept": values["items"], "made_with": {}})
        return cls(whole.clip, values["file"], values["draft"], whole.kept, whole.ended, whole.counts)


@dataclass(frozen=True)
class Stage:
    """Steps that are done in one place.

    Attributes:
        steps: By name.
        number: Of the stage, from 0.
        last: Whether it makes clips whole.
        out: The folder of the store.
        run: Names the run.
    """

    steps: Mapping[str, Step]
    resources: Resources
    number: int
    last: bool
    out: str
    run: str
    store: Store = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", Store(Path(self.out)))

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Work on one clip: a `Row`, or what was `told` of the clip before.

        Returns:
            A `Row`, or `{"told": …}`: "done", "known", "unanswered" or "fatal", with the clip and the causes.
        """
        if "told" in values:
            return dict(values)
        row = Row.from_json(values)
        try:
            return self._work(row)
        except UserError as error:
            return _told("fatal", row, [error.message, error.remedy])

    def _work(self, row: Row) -> dict[str, Any]:
        if self.number == 0:
            draft = self.store.begin(row.clip, self.run)
            if draft is None:
                row = replace(row, draft=str(self.store.drafts / self.run / f"{row.clip.content}-given-up"))
                Path(row.draft).mkdir(exist_ok=True)
            else:
                row = replace(row, draft=str(draft))
        else:
            draft = attempt(Path(row.draft) / f".stage-{self.number}")
        if draft is None:
            row = self._given_up(row)
        opened = OpenClip(Path(row.file), Path(row.draft))
        items, ended, counts = list(row.items), list(row.ended), list(row.counts)
        for name, step in self.steps.items():
            items, dropped, count = through(name, step, items, opened)
            ended += dropped
            counts.append(count)
        row = replace(row, items=tuple(items), ended=tuple(ended), counts=tuple(counts))
        return self._finish(row) if self.last else row.to_json()

    def _given_up(self, row: Row) -> Row:
        step, number = next(iter(self.steps)), len(row.items)
        ended = (*row.ended, *(End(step, DIED, "", False, item) for item in row.items))
        count = Count(step, number, 0, 0, {DIED: number}, 0.0)
        return replace(row, items=(), ended=ended, counts=(*row.counts, count))

    def _finish(self, row: Row) -> dict[str, Any]:
        draft = Path(row.draft)
        finished = Finished(row.clip, draft, row.items, row.ended, row.counts, made_with())
        if finished.unanswered:
            shutil.rmtree(draft, ignore_errors=True)
            return _told("unanswered", row, [f"{end.reason} ({end.detail})" for end in finished.unanswered])
        for item in row.items:
            check_whole(item)
        for leftover in draft.glob(".stage-*"):
            leftover.rmdir()
        if not self.store.commit(draft, finished):
            return _told("known", row, [])
        return _told("done", row, [f"{end.step}: {end.detail}" for end in finished.errors])


def stages(recipe: Recipe, out: Path, run: str) -> list[Stage]:
    """Cut a pipeline where its steps need other resources."""
    groups = [
        (resources, dict(steps))
        for resources, steps in groupby(recipe.steps.items(), key=lambda named: named[1].resources)
    ]
    last = len(groups) - 1
    return [
        Stage(steps, resources, number, number == last, str(out), run)
        for number, (resources, steps) in enumerate(groups)
    ]


@cache
def made_with() -> dict[str, str]:
    """The versions of the programs that are installed here."""
    found: dict[str, str] = {}
    for program in PROGRAMS:
        try:
            found[program] = version(program)
        except PackageNotFoundError:
            continue
    return found


def _told(what: str, row: Row, causes: Sequence[str]) -> dict[str, Any]:
    return {"told": what, "clip": asdict(row.clip), "kept": len(row.items), "causes": list(causes[:3])}
