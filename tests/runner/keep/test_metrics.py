"""`metrics.csv`: rows appear at once, new metrics widen the table, and later rows can be forgotten."""

import copy
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import DummyLogger

from omnigen2.runner.keep.metrics import CsvLogger, read_metrics


def test_every_row_is_on_disk_at_once(tmp_path: Path) -> None:
    logger = CsvLogger(tmp_path)
    logger.log_metrics({"loss": torch.tensor(0.5), "epoch": 0}, step=0)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,epoch,loss", "0,0,0.5"]
    logger.log_metrics({"acc": 1.0, "epoch": 0}, step=1)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,epoch,acc,loss", "0,0,,0.5", "1,0,1.0,"]
    assert read_metrics(tmp_path) == ({"step": 0, "epoch": 0, "loss": 0.5}, {"step": 1, "epoch": 0, "acc": 1.0})


def test_an_existing_file_is_continued_and_cut_back(tmp_path: Path) -> None:
    first = CsvLogger(tmp_path)
    for step in range(4):
        first.log_metrics({"loss": float(step)} if step < 2 else {"late": float(step)}, step=step)
    second = CsvLogger(tmp_path)
    assert second.rows == 4
    second.keep(2)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,loss", "0,0.0", "1,1.0"]
    second.log_metrics({"loss": 2.0}, step=2)
    assert [row["loss"] for row in read_metrics(tmp_path)] == [0.0, 1.0, 2.0]


def test_more_rows_than_there_are_cannot_be_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 0 rows, but its checkpoint was made after 3"):
        CsvLogger(tmp_path).keep(3)


def test_strange_numbers_survive(tmp_path: Path) -> None:
    CsvLogger(tmp_path).log_metrics({"loss": float("nan"), "big": float("inf"), "tiny": 1e-300}, step=0)
    row = read_metrics(tmp_path)[0]
    assert row["loss"] != row["loss"]
    assert (row["big"], row["tiny"]) == (float("inf"), 1e-300)


def test_nothing_logged_is_nothing_read(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == ()


def test_what_it_cannot_do_a_logger_beside_it_does(tmp_path: Path) -> None:
    theirs = CSVLogger(tmp_path / "theirs")
    logger = CsvLogger(tmp_path, (DummyLogger(), theirs))
    logger.experiment.add_image("a picture", None)
    assert CsvLogger(tmp_path, (theirs,)).experiment is theirs.experiment
    assert logger.log_dir == str(tmp_path)
    with pytest.raises(AttributeError, match="the loggers of this run have no experiment; name one that has"):
        _ = CsvLogger(tmp_path).experiment
    assert copy.deepcopy(CsvLogger(tmp_path)).rows == 0
