"""The report of the ablation of reinforcement learning: the table, reward curves, and which findings appear."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import cycle
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from typing_extensions import override

from omnigen2.files import markdown_table, read_json, spread, write_json, write_text
from omnigen2.microworld.reports.findings import SUMMED, Finding, findings, findings_table
from omnigen2.microworld.runs import FAMILY_SCORES, LEGEND, SCORES, changes
from omnigen2.runner.plan import Plan, Report, Results, Row, RunResult

PLOT = "rewards.png"
COLUMNS = {
    "GenEval": "geneval/overall/correct",
    "OmniContext": "omnicontext/overall/overall",
    "edit SC": "edit/overall/SC",
    "edit PQ": "edit/overall/PQ",
    "edit overall": "edit/overall/O",
    "edit exact": "edit_exact/overall/exact",
    "in-context exact": "omnicontext_exact/overall/exact",
    "letters exact": "letters/overall/exact",
    "texture": "texture/overall/texture",
}
"""What the table shows, as `scores.json` calls it: columns of the paper's Table 5, then shares without a fault, and how
far plain backgrounds are from flat (less is better)."""
BASE = "base"
"""The row that nothing was trained in: what all others are compared with."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666", "#000000")


class Ablation(Report):
    """Writes `report.md`, `report.json` and `rewards.png` of a study like `recipes/micro/rl_ablation.yaml`.

    Every cell has the `scores.json` of a `MicroEvaluation` in its last stage. Findings are looked for where the rows
    that they compare are there: `base`, `edit`, `geneval`, `ocr`, `incontext`, `edit_geneval`, `edit_ocr`,
    `edit_preference`, `edit_incontext_geneval`, `edit_geneval_incontext` and `geneval_edit_incontext`. See `findings`
    for what is called a difference; with one seed nothing is decided.

    A row's notes may have `paper`, a mapping from titles of columns to the paper's numbers, which are then shown.
    """

    @override
    def write(self, plan: Plan, results: Results) -> None:
        last = {row.name: results.of_row(row.name) for row in plan.rows}
        scores = {name: [scores_of(run) for run in own] for name, own in last.items()}
        curves = {name: [reward_curve(run) for run in own] for name, own in last.items()}
        exact = {name: [exact_of(run) for run in own] for name, own in last.items()}
        found = findings(scores, curves, exact)
        plot(plan, results).savefig(plan.folder / PLOT, dpi=160, facecolor="white", metadata={"Software": None})
        write_text(plan.folder / "report.md", self._text(plan, results, scores, found))
        data = {
            "study": plan.name,
            "command": plan.command,
            "seeds": list(plan.seeds),
            "seconds": results.seconds,
            "versions": dict(results.versions),
            "rows": {
                row.name: {
                    "title": row.title,
                    "notes": dict(row.notes),
                    "trained": trained_in(runs_of(results, row.name)),
                    "scores": scores[row.name],
                }
                for row in plan.rows
            },
            "tasks": {title: len(values) for title, values in exact[plan.rows[0].name][0].items()},
            "findings": [asdict(finding) for finding in found],
        }
        write_json(plan.folder / "report.json", data)

    def _text(
        self, plan: Plan, results: Results, scores: Mapping[str, list[dict[str, float]]], found: list[Finding]
    ) -> str:
        papers = any("paper" in row.notes for row in plan.rows)
        note = (
            " The paper's numbers are those of a model of 4 billion parameters on the benchmarks of these names."
            if papers
            else " The paper's own numbers are not shown: no row's notes have them."
        )
        seeds = ", ".join(map(str, plan.seeds))
        minutes = results.seconds / 60
        parts = [
            f"# {plan.name}",
            table(plan.rows, scores),
            "Of held-out micro-world tasks: shares without a fault (GenEval and the exact columns), and how far plain "
            "backgrounds are from flat (texture, 0 to 2, less is better), where they were measured; in-context tasks "
            "after OmniContext, and of edits success (SC), preservation (PQ) and their geometric mean, in [0, 10]. "
            f"Mean ± standard deviation over the seeds {seeds}; all rows draw the same tasks from the same noise, "
            f"without guidance.{note}",
            "## Before and after, trained or not",
            families(plan, results),
            f"Before is the row {BASE}; means over the seeds. {LEGEND}",
            "## Findings",
            findings_table(found) if found else "No rows to compare.",
            "Each ± of a difference is its standard error, of seeds and of held-out tasks together; a difference "
            "counts where it is larger than two of them. A miniature shows whether the machinery and its trends work, "
            "and is no claim about real pictures.",
            "## Rewards in training",
            f"![rewards]({PLOT})",
            "Mean reward of each iteration, sampled with noise in the steps: single seeds thin, their mean thick. The "
            "stages of a row are behind one another.",
            f"{len(results.cells)} rows times seeds, {minutes:.0f} minutes of training, {results.jobs} at a time.",
            f"    {plan.command}",
        ]
        return "\n\n".join(parts) + "\n"


def runs_of(results: Results, row: str) -> list[RunResult]:
    """Every run of a row: all stages of all seeds."""
    return [run for (name, _), runs in results.cells.items() if name == row for run in runs]


def scores_of(run: RunResult) -> dict[str, float]:
    """What a run scored, by title of the columns that were measured.

    Raises:
        FileNotFoundError: If the run was not evaluated.
    """
    numbers: Mapping[str, float] = _content(run)["model"]
    return {title: numbers[name] for title, name in COLUMNS.items() if name in numbers}


def exact_of(run: RunResult) -> dict[str, list[int]]:
    """Which held-out tasks a run did without a fault.

    Returns:
        By column of `SUMMED`, those that were measured; 1 or 0, all runs have the same tasks in the same order.

    Raises:
        FileNotFoundError: If the run was not evaluated.
    """
    exact: Mapping[str, list[int]] = _content(run)["exact"]
    names = {title: COLUMNS[title].split("/")[0] for title in SUMMED}
    return {title: exact[name] for title, name in names.items() if name in exact}


def families(plan: Plan, results: Results) -> str:
    """What became of every family of tasks in every row, in Markdown: its mean over the seeds beside that of `BASE`."""
    means = {row.name: _mean([_content(run) for run in results.of_row(row.name)]) for row in plan.rows}
    lines: list[list[str]] = []
    for row in plan.rows:
        trained = trained_in(runs_of(results, row.name))
        found = changes(means.get(BASE), means[row.name], trained)
        titles = [one.score.title for one in found if one.trained]
        lines.append([row.title, "–" if trained is None else ", ".join(titles) or "nothing", *map(str, found)])
    return markdown_table(["row", "trained", *(score.title for score in FAMILY_SCORES)], lines)


def trained_in(runs: Sequence[RunResult]) -> list[str] | None:
    """What any of these runs was trained on; None if one of them does not say."""
    found = [(read_json(run.folder / SCORES) or {}).get("trained") for run in runs]
    return None if None in found else sorted({name for names in found for name in names or ()})


def _mean(contents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One `scores.json` of several seeds: the mean of every number that all have."""
    numbers = [content["model"] for content in contents]
    model = {name: fmean(one[name] for one in numbers) for name in numbers[0] if all(name in one for one in numbers)}
    return {"model": model}


def _content(run: RunResult) -> dict[str, Any]:
    path = run.folder / SCORES
    content = read_json(path)
    if content is None:
        raise FileNotFoundError(f"there is no {path}; add a MicroEvaluation to the recipes of all rows")
    return content


def table(rows: Sequence[Row], scores: Mapping[str, list[dict[str, float]]]) -> str:
    """All rows and columns in Markdown, the paper's numbers behind ours where notes have them."""
    columns = [title for title in COLUMNS if any(title in one for seeds in scores.values() for one in seeds)]
    papers = {title for title in columns if any(title in row.notes.get("paper", {}) for row in rows)}
    heads = [head for title in columns for head in (title, *([f"{title} (paper)"] if title in papers else []))]
    lines: list[list[str]] = []
    for row in rows:
        line = [row.title]
        for title in columns:
            line.append(spread([one[title] for one in scores[row.name]]))
            if title in papers:
                line.append(str(row.notes.get("paper", {}).get(title, "–")))
        lines.append(line)
    return markdown_table(["trained on", *heads], lines)


def reward_curve(run: RunResult) -> list[float]:
    """The mean reward of each iteration of a run; empty if nothing was trained."""
    return [row["reward/mean"] for row in run.metrics if "reward/mean" in row]


def plot(plan: Plan, results: Results) -> Figure:
    """Draw the rewards of all rows in which something was trained, a small plot for each."""
    curves = [
        (row, [{run.name: reward_curve(run) for run in results.cells[row.name, seed]} for seed in plan.seeds])
        for row in plan.rows
    ]
    drawn = [(row, seeds) for row, seeds in curves if any(curve for one in seeds for curve in one.values())]
    width = max(1, min(4, len(drawn)))
    height = max(1, -(-len(drawn) // width))
    figure = Figure(figsize=(3.0 * width, 2.2 * height), layout="constrained")
    for number, (row, seeds) in enumerate(drawn):
        axes: Any = figure.add_subplot(height, width, number + 1)
        axes.set_title(row.title, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7)
        axes.set_xlabel("iteration", fontsize=7)
        axes.set_ylabel("mean reward", fontsize=7)
        start = 0
        for colour, name in zip(cycle(COLOURS), seeds[0], strict=False):
            own = [stages[name] for stages in seeds]
            for curve in own:
                axes.plot(range(start, start + len(curve)), curve, color=colour, lw=0.5, alpha=0.4)
            mean = [fmean(values) for values in zip(*own, strict=False)]  # of the iterations that all seeds have
            axes.plot(range(start, start + len(mean)), mean, color=colour, lw=1.5, label=name)
            start += max(map(len, own))
        axes.legend(fontsize=6, frameon=False)
    return figure
