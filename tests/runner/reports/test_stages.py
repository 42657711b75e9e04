"""The report of stages: the table, the links, the plot, and what it is made of."""

import json
from pathlib import Path

from omnigen2.runner.plan import Plan, Results, RunResult
from omnigen2.runner.reports.stages import PLOT, StageTable, plot_losses
from tests.runner.results import finished


def result(folder: Path, *losses: str) -> tuple[Plan, Results]:
    """Stages `s0`, `s1`, …, each of which has logged a loss of that name."""
    stages = tuple(
        RunResult(
            name=f"s{number}",
            start=f"s{number - 1}" if number else None,
            folder=folder / f"s{number}",
            metrics=({"step": 0.0, loss: 9.0}, {"step": 9.0, loss: 2.0 / 3 + number}, {"step": 9.0, "val": 1.0}),
            summary={"seconds": 90.0, "steps": 10, "final": {loss: 2.0 / 3 + number, "val": 1.0}},
        )
        for number, loss in enumerate(losses)
    )
    return finished(folder, {("toy", None): stages})


def test_the_table_has_a_line_per_stage_with_its_start_and_a_link(tmp_path: Path) -> None:
    StageTable().write(*result(tmp_path, "loss", "train/loss"))
    text = (tmp_path / "report.md").read_text()
    assert "| stage | starts from | steps | minutes | loss | train/loss | val |" in text
    assert "| [s0](s0/report.md) | nothing | 10 | 1.5 | 0.667 | – | 1 |" in text
    assert "| [s1](s1/report.md) | s0 | 10 | 1.5 | – | 1.67 | 1 |" in text
    assert "2 stages, 3.0 minutes of training; python 3." in text
    assert f"]({PLOT})" in text
    assert (tmp_path / PLOT).stat().st_size > 1000
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["seconds"] == 180
    assert data["stages"]["s1"]["start"] == "s0"
    assert data["stages"]["s1"]["final"]["train/loss"] == 2.0 / 3 + 1


def test_the_columns_may_be_chosen(tmp_path: Path) -> None:
    StageTable(["val", "none"], digits=1).write(*result(tmp_path, "loss"))
    assert "| [s0](s0/report.md) | nothing | 10 | 1.5 | 1 | – |" in (tmp_path / "report.md").read_text()


def test_the_plot_lays_the_stages_one_after_the_other(tmp_path: Path) -> None:
    figure = plot_losses(result(tmp_path, "loss", "train/loss")[1].runs)
    assert figure is not None
    curves = [line for line in figure.axes[0].get_lines() if line.get_linewidth() == 1.2]
    assert [list(map(float, curve.get_xdata())) for curve in curves] == [[0, 9], [10, 19]]
    assert figure.axes[0].get_yscale() == "log"
    chosen = plot_losses(result(tmp_path, "loss", "train/loss")[1].runs, "loss")
    assert chosen is not None
    assert len([line for line in chosen.axes[0].get_lines() if line.get_linewidth() == 1.2]) == 1


def test_without_a_loss_there_is_no_plot_and_one_below_zero_is_drawn_on_a_plain_axis(tmp_path: Path) -> None:
    StageTable().write(*result(tmp_path, "score"))
    assert not (tmp_path / PLOT).exists()
    assert PLOT not in (tmp_path / "report.md").read_text()
    below = RunResult("s", None, tmp_path, ({"step": 0.0, "loss": -1.0},), {"steps": 1, "final": {"loss": -1.0}})
    figure = plot_losses((below,))
    assert figure is not None
    assert figure.axes[0].get_yscale() == "linear"
