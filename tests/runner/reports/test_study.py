"""The report interface and the default table."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from omnigen2.errors import UserError
from omnigen2.runner.plan import Plan, Rank, Results, Row, RunResult
from omnigen2.runner.reports import MetricTable, StageTable
from tests.runner.results import finished


def study(tmp_path: Path, rank: Rank | None = None) -> tuple[Plan, Results]:
    rows = (Row("a", "The A", {"paper": 800}), Row("b", "b", {}))
    cells = {
        (row.name, seed): [
            RunResult(
                name=row.name,
                start=None,
                folder=tmp_path / row.name / f"seed_{seed}",
                metrics=(
                    {"step": 0.0, "loss": 9.0, "val/loss": 8.0},
                    {"step": 9.0, "loss": base + seed},
                    {"step": 9.0, "only_a": 1.0} if row.name == "a" else {"step": 9.0},
                ),
                summary={"seconds": 1.5},
            )
        ]
        for row, base in zip(rows, (1.0, 5.0), strict=True)
        for seed in (0, 2)
    }
    return finished(tmp_path, cells, rows, rank=rank)


def test_the_table_has_mean_and_spread_of_the_final_values(tmp_path: Path) -> None:
    MetricTable().write(*study(tmp_path))
    text = (tmp_path / "report.md").read_text()
    assert "| row | loss | val/loss |" in text
    assert "| The A | 2 ± 1.4 | 8 ± 0 |" in text
    assert "| b | 6 ± 1.4 | 8 ± 0 |" in text
    assert "lightning run toy.yaml" in text
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["rows"]["a"]["final"]["loss"] == [1.0, 3.0]
    assert data["rows"]["a"]["notes"] == {"paper": 800}


def test_curves_have_the_steps_of_their_metric_and_what_does_not_exist_is_named(tmp_path: Path) -> None:
    assert study(tmp_path)[1].of_row("a")[1].curve("loss") == [(0, 9.0), (9, 3.0)]
    with pytest.raises(KeyError, match=r"'acc'.*loss, only_a, val/loss"):
        study(tmp_path)[1].of_row("a")[1].curve("acc")
    with pytest.raises(UserError, match=r"the report's metrics: one is only_a, .*\n.* have loss, val/loss;"):
        MetricTable(["loss", "only_a"]).write(*study(tmp_path))


@pytest.mark.parametrize(("best", "order"), [("lowest", ["The A", "b"]), ("highest", ["b", "The A"])])
def test_rows_are_ranked_by_a_metric(best: Literal["lowest", "highest"], order: list[str], tmp_path: Path) -> None:
    MetricTable().write(*study(tmp_path, Rank("loss", best)))
    lines = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("|")]
    assert lines[0] == "| rank | row | loss | val/loss |"
    assert [line.split(" | ")[:2] for line in lines[2:]] == [[f"| {n}", title] for n, title in enumerate(order, 1)]
    ranked = json.loads((tmp_path / "report.json").read_text())["ranked"]
    assert ranked == (["a", "b"] if best == "lowest" else ["b", "a"])


def test_a_row_without_a_number_is_last_and_an_unknown_metric_is_told(tmp_path: Path) -> None:
    plan, results = study(tmp_path, Rank("loss"))
    cells = {cell: [replace(runs[0], metrics=({"step": 9.0, "loss": float("nan")},))] if cell[0] == "a" else runs
             for cell, runs in results.cells.items()}  # fmt: skip
    MetricTable().write(plan, replace(results, cells=cells))
    assert json.loads((tmp_path / "report.json").read_text())["ranked"] == ["b", "a"]
    with pytest.raises(UserError, match=r"study.rank.metric is acc.*\n.*all have loss, val/loss"):
        MetricTable().write(*study(tmp_path, Rank("acc")))


@pytest.mark.parametrize("table", [MetricTable, StageTable])
def test_bad_arguments_are_refused(table: type[MetricTable] | type[StageTable]) -> None:
    with pytest.raises(ValueError, match="got 0"):
        table(digits=0)
    with pytest.raises(ValueError, match="empty list"):
        table([])
