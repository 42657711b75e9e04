"""The report of a micro-world curriculum: losses, scores by task, and pictures of every stage."""

import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from omnigen2.evaluation.metrics import SUBTASKS, TAGS
from omnigen2.files import markdown_table, read_json
from omnigen2.microworld.runs import PICTURES, SCORES
from omnigen2.microworld.tasks import EDIT_KINDS
from omnigen2.runner.reports import StageResult, StagesResult, StageTable

PLOT = "scores.png"
IGNORING = "without references"
LINES = {
    "text-to-image": ("model", "geneval/overall/correct", "#0072B2"),
    "edits": ("model", "edit_exact/overall/exact", "#D55E00"),
    "in-context": ("model", "omnicontext_exact/overall/exact", "#009E73"),
    "in-context, references hidden": (IGNORING, "omnicontext_exact/overall/exact", "#999999"),
}
"""What is drawn: the scores' part, the number's name, and the colour."""

Scores = Mapping[str, Any]


class MicroCurriculum(StageTable):
    """The table of stages, and what `MicroEvaluation` found after each of them.

    Exact shares by task (nothing at all is wrong in the picture), success and preservation of edits, subject
    consistency and prompt following of in-context tasks, and the same tasks drawn without their references. Pictures
    are the first held-out tasks of each kind with their verdicts, not chosen.
    """

    def write(self, result: StagesResult) -> None:
        """Write what `StageTable` writes, with scores and pictures.

        Args:
            result: The finished stages.
        """
        super().write(result)
        found = {stage.name: scores for stage in result.stages if (scores := read_json(stage.folder / SCORES))}
        if not found:
            return
        plot(found).savefig(result.folder / PLOT, dpi=160, facecolor="white", metadata={"Software": None})
        report = result.folder / "report.md"
        text = report.read_text(encoding="utf-8")
        report.write_text(text + "\n" + "\n\n".join([*tables(found), *pictures(result.stages, result)]) + "\n", "utf-8")
        path = result.folder / "report.json"
        data = json.loads(path.read_text(encoding="utf-8")) | {"scores": found}
        path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def tables(found: Mapping[str, Scores]) -> list[str]:
    """Scores of all stages by task.

    Args:
        found: The contents of `scores.json` by stage.

    Returns:
        Paragraphs of Markdown.
    """
    subtasks = tuple(name for name in SUBTASKS if _any(found, f"omnicontext_exact/{name}/exact"))
    parts = [
        "## Scores by task",
        f"![scores after each stage]({PLOT})",
        "Held-out tasks, averaged weights, drawn with guidance. *Exact* is the share of pictures in which nothing at "
        "all is wrong, extra objects included.",
        "### Text-to-image, exact",
        _table(found, "model", {tag: f"geneval/{tag}/correct" for tag in (*TAGS, "overall")}),
    ]
    if _any(found, "edit_exact/overall/exact"):
        kinds = {kind: f"edit_exact/{kind}/exact" for kind in (*EDIT_KINDS, "overall")}
        sides = {"success": "edit/overall/SC", "preservation": "edit/overall/PQ"}
        parts += ["### Edits, exact", _table(found, "model", kinds)]
        parts += ["### Edits, shares of met clauses (0 to 10)", _table(found, "model", sides)]
    if subtasks:
        exact = {name: f"omnicontext_exact/{name}/exact" for name in (*subtasks, "overall")}
        sides = {
            "prompt following": "omnicontext/overall/prompt_following",
            "subject consistency": "omnicontext/overall/subject_consistency",
            "overall": "omnicontext/overall/overall",
        }
        parts += ["### In-context tasks, exact", _table(found, "model", exact)]
        parts += ["### In-context tasks, exact, drawn without their references", _table(found, IGNORING, exact)]
        parts += ["### In-context tasks (0 to 10)", _table(found, "model", sides)]
        parts += ["### In-context tasks (0 to 10), drawn without their references", _table(found, IGNORING, sides)]
    return parts


def pictures(stages: Sequence[StageResult], result: StagesResult) -> list[str]:
    """Copy the pictures of all stages beside the report.

    Args:
        stages: All of them.
        result: Says where the report is.

    Returns:
        Paragraphs of Markdown that show them, the last stage first.
    """
    parts = ["## Pictures", "The first held-out tasks of each kind with their verdicts, right or wrong."]
    for stage in reversed(stages):
        if (source := stage.folder / PICTURES).is_file():
            folder = result.folder / "pictures"
            folder.mkdir(exist_ok=True)
            shutil.copyfile(source, folder / f"{stage.name}.png")
            parts += [f"### {stage.name}", f"![drawn after {stage.name}](pictures/{stage.name}.png)"]
    return parts


def plot(found: Mapping[str, Scores]) -> Figure:
    """Draw the exact shares after each stage.

    Args:
        found: The contents of `scores.json` by stage.

    Returns:
        The figure.
    """
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
    shown = {title: number for title, number in columns.items() if _any(found, number)}
    lines: list[list[str]] = []
    for name, scores in found.items():
        values = [_value(scores, part, number) for number in shown.values()]
        if any(value is not None for value in values):
            lines.append([name, *("–" if value is None else f"{value:.2f}" for value in values)])
    return markdown_table(["stage", *shown], lines)


def _value(scores: Scores, part: str, number: str) -> float | None:
    numbers: Any = scores.get(part, {})
    return numbers.get(number)


def _any(found: Mapping[str, Scores], number: str) -> bool:
    return any(_value(scores, "model", number) is not None for scores in found.values())
