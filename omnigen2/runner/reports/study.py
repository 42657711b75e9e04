"""The report of rows and seeds: a table of final values."""

from collections.abc import Mapping, Sequence
from math import isnan
from statistics import fmean

from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.files import markdown_table, spread, write_json, write_text
from omnigen2.runner.plan import Plan, Report, Results, Row, RunResult


def check_columns(metrics: Sequence[str] | None, digits: int) -> None:
    """Refuse a table without columns, or without digits.

    Raises:
        ValueError: If `digits` is less than 1 or `metrics` is an empty list.
    """
    if digits < 1:
        raise ValueError(f"digits must be at least 1, got {digits}")
    if metrics is not None and not metrics:
        raise ValueError("metrics is an empty list; leave it out to get every metric")


class MetricTable(Report):
    """The final value of each metric: one line per row, mean ± standard deviation over the seeds.

    Where a study has `rank`, the best row stands first, and that metric in the first column.

    Args:
        metrics: Columns of `metrics.csv`; all that every run has if not given.
        digits: Significant digits in the table (the JSON has all), at least 1.
    """

    def __init__(self, metrics: Sequence[str] | None = None, digits: int = 3) -> None:
        check_columns(metrics, digits)
        self.metrics = metrics
        self.digits = digits

    @override
    def write(self, plan: Plan, results: Results) -> None:
        known = common_metrics([run for row in plan.rows for run in results.of_row(row.name)])
        names = list(self.metrics) if self.metrics is not None else known
        if plan.rank is not None:
            names = [plan.rank.metric, *(name for name in names if name != plan.rank.metric)]
        if missing := [name for name in names if name not in known]:
            place = "study.rank.metric" if plan.rank and missing[0] == plan.rank.metric else "the report's metrics: one"
            raise UserError(
                f"{place} is {missing[0]}, which not every run has logged",
                f"all have {', '.join(known) or 'no metric'}; mend it and give the command again, the runs stay",
            )
        finals = {
            row.name: {name: [run.curve(name)[-1][1] for run in results.of_row(row.name)] for name in names}
            for row in plan.rows
        }
        ordered = ranked(plan, finals)
        place = {row.name: str(number) for number, row in enumerate(ordered, 1)}
        head = [*(["rank"] if plan.rank else []), "row", *names]
        lines = [
            [
                *([place[row.name]] if plan.rank else []),
                row.title,
                *(spread(finals[row.name][name], self.digits) for name in names),
            ]
            for row in ordered
        ]
        seeds = ", ".join(map(str, plan.seeds))
        order = f" The {plan.rank.best} {plan.rank.metric} stands first." if plan.rank else ""
        text = (
            f"# {plan.name}\n\n{markdown_table(head, lines)}\n\nFinal values, mean ± standard deviation over "
            f"the seeds {seeds}.{order}\n{len(results.runs)} runs, {results.seconds / 60:.1f} minutes of training.\n\n"
            f"    {plan.command}\n"
        )
        write_text(plan.folder / "report.md", text)
        data = {
            "study": plan.name,
            "command": plan.command,
            "seeds": list(plan.seeds),
            "seconds": results.seconds,
            "versions": dict(results.versions),
            "ranked": [row.name for row in ordered] if plan.rank else None,
            "rows": {
                row.name: {"title": row.title, "notes": dict(row.notes), "final": finals[row.name]} for row in plan.rows
            },
        }
        write_json(plan.folder / "report.json", {key: value for key, value in data.items() if value is not None})


def ranked(plan: Plan, finals: Mapping[str, Mapping[str, Sequence[float]]]) -> list[Row]:
    """The rows of a plan, those first whose mean is best; a row whose mean is no number is last."""
    if plan.rank is None:
        return list(plan.rows)
    sign, metric = (1 if plan.rank.best == "lowest" else -1), plan.rank.metric
    means = {row.name: sign * fmean(finals[row.name][metric]) for row in plan.rows}
    return sorted(plan.rows, key=lambda row: (isnan(means[row.name]), means[row.name]))


def common_metrics(runs: Sequence[RunResult]) -> list[str]:
    """The metrics that every run has logged, sorted; without the step and the epoch."""
    logged = [{name for row in (*run.metrics, run.summary.get("final", {})) for name in row} for run in runs]
    return sorted(set.intersection(*logged) - {"step", "epoch"}) if logged else []
