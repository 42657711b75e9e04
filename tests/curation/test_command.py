"""`omnigen2 curate`: what it says, and what it refuses in two lines."""

from pathlib import Path

import pytest

from omnigen2.cli import main
from tests.curation.parts import recipe, write_clips
from tests.curation.test_curate import TEXTS


def test_it_says_what_was_done_and_what_was_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe(tmp_path)
    write_clips(tmp_path / "clips", *TEXTS, TEXTS[0])
    words = ["curate", str(tmp_path / "recipe.yaml"), "--clips", str(tmp_path / "clips"), "--engine", "here"]
    words += ["--out", str(tmp_path / "out"), "--set", "grade.most=0.95"]
    assert main(words) == 0
    out, notes = capsys.readouterr()
    assert "5 files: 4 clips done, 0 were known" in out
    assert "5 examples in examples.jsonl" in out
    assert "note: 1 are copies of others" in notes
    assert "note: 1 have items in which a step failed" in notes
    assert main(["curate", "retune", str(tmp_path / "out"), "--threshold", "grade.most=0.75"]) == 0
    assert "| grade: too high | 0 | 1 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--engine", "here", "--address", "auto"], "--address and --cpus are for --engine ray"),
        (["--cpus", "0"], "--cpus of at least 1"),
        (["--address", "auto", "--cpus", "2"], "--cpus is for a Ray of this machine"),
        (["--set", "grade"], "changes nothing"),
        (["--engine", "here"], "there is no folder"),
    ],
)
def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str) -> None:
    recipe(tmp_path)
    files = [str(tmp_path / "recipe.yaml"), "--clips", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    assert main(["curate", *files, *words]) == 2
    said = capsys.readouterr().err
    assert problem in said
    assert len(said.splitlines()) == 2
    assert not (tmp_path / "out").exists()


def test_a_threshold_without_a_number_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curate", "retune", str(tmp_path), "--threshold", "grade.least"]) == 2
    assert "write NAME=VALUE with a number" in capsys.readouterr().err
