"""The report of a micro-world curriculum: losses, scores by task, and pictures of every stage."""

import shutil
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from typing_extensions import override

from omnigen2.evaluation.metrics import SUBTASKS, TAGS
from omnigen2.files import markdown_table, read_json, write_json, write_text
from omnigen2.microworld.runs import FAMILY_SCORES, LEGEND, PICTURES, SCORES, SCORES_BEFORE, changes
from omnigen2.microworld.tasks import EDIT_KINDS
from omnigen2.runner.plan import Plan, Results
from omnigen2.runner.reports import StageTable

PLOT = "scores.png"
IGNORING = "without references"
LINES = {
    "text-to-image": ("model", "geneval/overall/correct", "#0072B2"),
    "edits": ("model", "edit_exact/overall/exact", "#D55E00"),
    "in-context": ("model", "omnicontext_exact/overall/exact", "#009E73"),
    "in-context, references hidden": (IGNORING, "omnicontext_exact/overall/exact", "#999999"),
}
"""What is drawn: the scores' part, the number's name, and the colour."""
EDIT_SIDES = {"success": "edit/overall/SC", "preservation": "edit/overall/PQ"}
CONTEXT_EXACT = {name: f"omnicontext_exact/{name}/exact" for name in (*SUBTASKS, "overall")}
CONTEXT_SIDES = {
    "prompt following": "omnicontext/overall/prompt_following",
    "subject consistency": "omnicontext/overall/subject_consistency",
    "overall": "omnicontext/overall/overall",
}
TABLES = (
    ("Text-to-image, exact", "model", {tag: f"geneval/{tag}/correct" for tag in (*TAGS, "overall")}),
    ("Edits, exact", "model", {kind: f"edit_exact/{kind}/exact" for kind in (*EDIT_KINDS, "overall")}),
    ("Edits, shares of met clauses (0 to 10)", "model", EDIT_SIDES),
    ("In-context tasks, exact", "model", CONTEXT_EXACT),
    ("In-context tasks, exact, drawn without their references", IGNORING, CONTEXT_EXACT),
    ("In-context tasks (0 to 10)", "model", CONTEXT_SIDES),
    ("In-context tasks (0 to 10), drawn without their references", IGNORING, CONTEXT_SIDES),
)
"""Title, the scores' part, and the numbers' names by column; those that no stage has are left out."""

Scores = Mapping[str, Any]
"""The content of a `scores.json`."""


class MicroCurriculum(StageTable):
    """The table of stages, and what `MicroEvaluation` found after each of them.

    All families of tasks before and after each stage, trained or not, with a mark where one became worse. Exact shares
    by task (nothing at all is wrong in the picture), success and preservation of edits, subject consistency and prompt
    following of in-context tasks, and the same tasks drawn without their references. Pictures are the first held-out
    tasks of each kind with their verdicts, not chosen.
    """

    @override
    def write(self, plan: Plan, results: Results) -> None:
        super().write(plan, results)
        found = {run.name: scores for run in results.runs if (scores := read_json(run.folder / SCORES))}
        if not found:
            return
        plot(found).savefig(plan.folder / PLOT, dpi=160, facecolor="white", metadata={"Software": None})
        report = plan.folder / "report.md"
        more = "\n\n".join([*families(results, found), *tables(found), *pictures(plan, results)])
        write_text(report, f"{report.read_text(encoding='utf-8')}\n{more}\n")
        path = plan.folder / "report.json"
        write_json(path, {**(read_json(path) or {}), "scores": found})


def families(results: Results, found: Mapping[str, Scores]) -> list[str]:
    """What became of every family of tasks in every stage, trained or not.

    Before is what the stage itself measured before its first step; if it did not, what the stage that it started from
    had at its end.
    """
    lines: list[list[str]] = []
    for stage in results.runs:
        if stage.name in found:
            before = read_json(stage.folder / SCORES_BEFORE) or found.get(stage.start or "")
            own = changes(before, found[stage.name])
            trained = [one.score.title for one in own if one.trained]
            known = any(one.trained is not None for one in own)
            lines.append([stage.name, (", ".join(trained) or "nothing") if known else "–", *map(str, own)])
    titles = [score.title for score in FAMILY_SCORES]
    return [
        "## Before and after, trained or not",
        markdown_table(["stage", "trained", *titles], lines),
        LEGEND,
    ]


def tables(found: Mapping[str, Scores]) -> list[str]:
    """Scores of all stages by task, as paragraphs of Markdown."""
    parts = [
        "## Scores by task",
        f"![scores after each stage]({PLOT})",
        "Held-out tasks, averaged weights, drawn with guidance. *Exact* is the share of pictures in which nothing at "
        "all is wrong, extra objects included.",
    ]
    for title, part, columns in TABLES:
        shown = {name: number for name, number in columns.items() if _any(found, number)}
        if shown:
            parts += [f"### {title}", _table(found, part, shown)]
    return parts


def pictures(plan: Plan, results: Results) -> list[str]:
    """Copy the pictures of all stages beside the report, and show them, the last stage first."""
    parts = ["## Pictures", "The first held-out tasks of each kind with their verdicts, right or wrong."]
    for stage in reversed(results.runs):
        if (source := stage.folder / PICTURES).is_file():
            folder = plan.folder / "pictures"
            folder.mkdir(exist_ok=True)
            shutil.copyfile(source, folder / f"{stage.name}.png")
            parts += [f"### {stage.name}", f"![drawn after {stage.name}](pictures/{stage.name}.png)"]
    return parts


def plot(found: Mapping[str, Scores]) -> Figure:
    """Draw the exact shares after each stage."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    names = list(found)
    for label, (part, number, colour) in LINES.items():
        points = [
            (x, value) for x, name in enumerate(names) if (value := _value(found[name], part, number)) is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=label)
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right", fontsize=8)
    axes.set_ylim(0, 1)
    axes.set_ylabel("exact")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _table(found: Mapping[str, Scores], part: str, columns: Mapping[str, str]) -> str:
    lines: list[list[str]] = []
    for name, scores in found.items():
        values = [_value(scores, part, number) for number in columns.values()]
        if any(value is not None for value in values):
            lines.append([name, *("–" if value is None else f"{value:.2f}" for value in values)])
    return markdown_table(["stage", *columns], lines)


def _value(scores: Scores, part: str, number: str) -> float | None:
    numbers: Any = scores.get(part, {})
    return numbers.get(number)


def _any(found: Mapping[str, Scores], number: str) -> bool:
    return any(_value(scores, "model", number) is not None for scores in found.values())
