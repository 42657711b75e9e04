"""The report interface and the default table."""

import json
from pathlib import Path

import pytest

from omnigen2.runner.reports.stages import StageTable
from omnigen2.runner.reports.study import CellResult, MetricTable, Row, StudyResult


def study(tmp_path: Path) -> StudyResult:
    rows = (Row("a", "The A", {"paper": 800}), Row("b", "b", {}))
    cells = tuple(
        CellResult(
            row=row.name,
            seed=seed,
            folder=tmp_path / row.name / f"seed_{seed}",
            metrics=(
                {"step": 0.0, "loss": 9.0, "val/loss": 8.0},
                {"step": 9.0, "loss": base + seed},
                {"step": 9.0, "only_a": 1.0} if row.name == "a" else {"step": 9.0},
            ),
            summary={"seconds": 1.5},
        )
        for row, base in zip(rows, (1.0, 5.0), strict=True)
        for seed in (0, 2)
    )
    return StudyResult("toy", rows, (0, 2), cells, "lightning run toy.yaml", 6.0, 2, {}, {"python": "3"})


def test_the_table_has_mean_and_spread_of_the_final_values(tmp_path: Path) -> None:
    MetricTable().write(study(tmp_path), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| row | loss | val/loss |" in text
    assert "| The A | 2 ± 1.4 | 8 ± 0 |" in text
    assert "| b | 6 ± 1.4 | 8 ± 0 |" in text
    assert "lightning run toy.yaml" in text
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["rows"]["a"]["final"]["loss"] == [1.0, 3.0]
    assert data["rows"]["a"]["notes"] == {"paper": 800}


def test_curves_have_the_steps_of_their_metric_and_what_does_not_exist_is_named(tmp_path: Path) -> None:
    assert study(tmp_path).cell("a", 2).curve("loss") == [(0, 9.0), (9, 3.0)]
    with pytest.raises(KeyError, match=r"'acc'.*loss, only_a, val/loss"):
        MetricTable(["acc"]).write(study(tmp_path), tmp_path)
    with pytest.raises(KeyError, match=r"'a', 1.*'toy'"):
        study(tmp_path).cell("a", 1)


@pytest.mark.parametrize("table", [MetricTable, StageTable])
def test_bad_arguments_are_refused(table: type[MetricTable] | type[StageTable]) -> None:
    with pytest.raises(ValueError, match="got 0"):
        table(digits=0)
    with pytest.raises(ValueError, match="empty list"):
        table([])
