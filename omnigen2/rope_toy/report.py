"""The report of the toy study: the paper's table with our numbers beside it, curves, answers, and raw data."""

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from omnigen2.files import markdown_table, write_json, write_text
from omnigen2.rope_toy.plots import plot_answers, plot_curves, save
from omnigen2.rope_toy.results import FINAL_EVALUATIONS, RowNumbers, loss_text, numbers_of, sentence
from omnigen2.runner.plan import Plan, Report, Results


class ToyReport(Report):
    """Writes `report.md`, `report.json`, `curves.png`, and `samples.png` if the runs kept answers.

    A row's notes may have `formula` (its position ids), `paper_steps` and `paper_loss` (from the paper's Table 1).
    Rows with `paper_steps`, in their order, are those whose order is compared with the paper's.

    Args:
        target: The loss to be reached, above 0; the paper's is 0.014.
    """

    def __init__(self, target: float = 0.014) -> None:
        if target <= 0:
            raise ValueError(f"target must be above 0, got {target}; the paper's is 0.014")
        self.target = target

    @override
    def write(self, plan: Plan, results: Results) -> None:
        rows = numbers_of(plan, results, self.target)
        save(plot_curves(results, rows, self.target), plan.folder / "curves.png")
        answers = plot_answers(plan, results)
        if answers is not None:
            save(answers, plan.folder / "samples.png")
        write_text(plan.folder / "report.md", self._text(plan, results, rows, pictures=answers is not None))
        write_json(plan.folder / "report.json", self._data(plan, results, rows))

    def _text(self, plan: Plan, results: Results, rows: Sequence[RowNumbers], pictures: bool) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in results.versions.items())
        parts = [
            f"# {plan.name}",
            self.table(rows),
            sentence(rows, self.target),
            "![loss against steps](curves.png)",
            *(["![answers](samples.png)"] if pictures else []),
            self._legend(rows, plan.seeds),
            f"{len(results.runs)} runs, {results.seconds / 60:.1f} minutes of training in all, {results.jobs} at a "
            f"time; {versions}.",
            f"    {plan.command}",
        ]
        return "\n\n".join(parts) + "\n"

    def _legend(self, rows: Sequence[RowNumbers], seeds: Sequence[int | None]) -> str:
        return (
            f"Mean ± standard deviation over the seeds {', '.join(map(str, seeds))}; {max(row.limit for row in rows)} "
            "training steps in every run. *Steps*: optimizer steps until the loss on fixed questions from held-out "
            f"pictures was below {self.target:g}; `> N` where it never was. *Final loss*: mean of the last "
            f"{FINAL_EVALUATIONS} evaluations. *One more*: loss with one reference more than in training. *Larger*: "
            "loss with all images larger than in training. The paper publishes neither the model nor the data of its "
            "table: compare the order of the rows, not the numbers. Δ stands for what the images before k add up to."
        )

    def table(self, rows: Sequence[RowNumbers]) -> str:
        """The table in Markdown."""
        head = [
            "scheme", "image k at (h, w)", "paper: steps", "paper: loss",
            "steps", "final loss", "one more", "larger", "ms/step",
        ]  # fmt: skip
        lines = [
            [
                row.row.title,
                str(row.row.notes.get("formula", "")),
                f"~{row.row.notes['paper_steps']}" if "paper_steps" in row.row.notes else "–",
                str(row.row.notes.get("paper_loss", "–")),
                row.steps_text,
                loss_text(row.final),
                loss_text(row.more_references),
                loss_text(row.larger_images),
                f"{1000 * sum(row.step_seconds) / len(row.step_seconds):.0f}",
            ]
            for row in rows
        ]
        return markdown_table(head, lines)

    def _data(self, plan: Plan, results: Results, rows: Sequence[RowNumbers]) -> dict[str, Any]:
        return {
            "study": plan.name,
            "command": plan.command,
            "seeds": list(plan.seeds),
            "target": self.target,
            "sentence": sentence(rows, self.target),
            "seconds": results.seconds,
            "jobs": results.jobs,
            "versions": dict(results.versions),
            "rows": {
                row.row.name: {
                    "title": row.row.title,
                    "notes": dict(row.row.notes),
                    "limit": row.limit,
                    "steps_to_target": list(row.steps),
                    "final_loss": list(row.final),
                    "more_references": list(row.more_references),
                    "larger_images": list(row.larger_images),
                    "step_seconds": list(row.step_seconds),
                    "curves": {
                        str(seed): {metric: run.curve(metric) for metric in _logged(run.metrics)}
                        for seed, run in zip(plan.seeds, results.of_row(row.row.name), strict=True)
                    },
                }
                for row in rows
            },
        }


def _logged(metrics: Sequence[Any]) -> list[str]:
    return sorted({name for row in metrics for name in row} - {"step", "epoch"})
