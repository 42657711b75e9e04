"""The report interface and the default table."""

import json
from pathlib import Path

import pytest

from omnigen2.files.tables import markdown_table, spread
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


def test_a_metric_that_was_never_logged_is_named_with_the_ones_that_were(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=r"'acc'.*loss, only_a, val/loss"):
        MetricTable(["acc"]).write(study(tmp_path), tmp_path)


def test_an_unknown_cell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=r"'a', 1.*'toy'"):
        study(tmp_path).cell("a", 1)


def test_a_curve_has_the_steps_of_its_metric(tmp_path: Path) -> None:
    assert study(tmp_path).cell("a", 2).curve("loss") == [(0, 9.0), (9, 3.0)]


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0"):
        MetricTable(digits=0)
    with pytest.raises(ValueError, match="empty list"):
        MetricTable([])


def test_spread_of_one_value_has_no_deviation_and_infinity_is_no_crash() -> None:
    assert spread([0.12345]) == "0.123"
    assert spread([1.0, float("inf")]) == "inf ± nan"


def test_a_bar_in_a_cell_does_not_break_the_table() -> None:
    assert markdown_table(["a"], [["x|y"]]).splitlines()[-1] == "| x\\|y |"
