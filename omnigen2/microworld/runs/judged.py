"""Judged pictures of micro-world tasks: what is counted of them, and what is shown."""

from pathlib import Path
from typing import NamedTuple

from omnigen2.data.batches import Example, Pixels
from omnigen2.microworld.runs.scores import MicroJudgement, MicroScores
from omnigen2.microworld.tasks import Caption
from omnigen2.microworld.tasks import ContextTask
from omnigen2.microworld.tasks import EditTask
from omnigen2.pictures import Panel, Section, contact_sheet
from omnigen2.microworld.tasks import DrawingTask, instruction_of, references_of

DOTS_PER_INCH = 110
MARKS = {True: "✓", False: "✗"}


class Judged(NamedTuple):
    """One task, its picture and what the rules say."""

    task: DrawingTask
    example: Example
    picture: Pixels
    judgement: MicroJudgement


def exact_by_family(judged: list[Judged]) -> dict[str, list[int]]:
    """Which pictures have no fault, task by task, so that two models can be compared in pairs.

    Args:
        judged: Tasks and verdicts.

    Returns:
        1 or 0 in the order of the tasks, under the names of `headline`.
    """
    families = {Caption: "geneval", EditTask: "edit_exact", ContextTask: "omnicontext_exact"}
    found: dict[str, list[int]] = {}
    for one in judged:
        found.setdefault(families[type(one.task)], []).append(int(one.judgement.exact))
    return found


def headline(scores: MicroScores) -> dict[str, float]:
    """The exact shares over all kinds of each family.

    Args:
        scores: Of any families.

    Returns:
        Those of `geneval`, `edit_exact` and `omnicontext_exact` that are there.
    """
    columns = {"geneval": "correct", "edit_exact": "exact", "omnicontext_exact": "exact"}
    found = {name: scores[name] for name in columns if name in scores.metrics}
    return {name: summary.lines[-1].values[columns[name]] for name, summary in found.items()}


def save_pictures(path: Path, title: str, judged: list[Judged], shown: int) -> None:
    """Write the first tasks of each kind with their verdicts.

    Args:
        path: Of the PNG file.
        title: Of the sheet.
        judged: In order of kinds.
        shown: Of each kind.
    """
    groups: dict[str, list[Judged]] = {}
    for one in judged:
        groups.setdefault(f"{type(one.task).__name__.removesuffix('Task').lower()}: {one.judgement.group}", []).append(
            one
        )
    sections = [
        Section(
            f"{name}, {sum(one.judgement.exact for one in own)} of {len(own)} right",
            tuple(_panel(one) for one in own[:shown]),
        )
        for name, own in groups.items()
    ]
    draft = path.with_name(f".{path.name}.new")
    contact_sheet(title, sections).savefig(draft, dpi=DOTS_PER_INCH, format="png")
    draft.replace(path)


def _panel(one: Judged) -> Panel:
    pictures = [(f"reference {number}", image) for number, image in enumerate(one.example.references, start=1)]
    pictures.append(("drawn" if references_of(one.task) else "", one.picture))
    verdict = f"{MARKS[one.judgement.exact]} {'; '.join(one.judgement.unmet)}".strip()
    return Panel("", tuple(pictures), instruction_of(one.task), verdict, one.judgement.exact)
