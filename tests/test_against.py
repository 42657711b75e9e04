"""Benchmarks on two trees: what is compared, and what is refused."""

import runpy
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

SPEED = """
import json, sys
import omnigen2
print("slow today")
print(json.dumps({"speed": getattr(omnigen2, "SPEED", 4.0) * len(sys.argv), "package": omnigen2.__file__}))
"""


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A tree whose package is half as fast."""
    package = tmp_path / "other" / "omnigen2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("SPEED = 2.0\n")
    return package.parent


def against(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["against.py", *map(str, words)])
    runpy.run_path(str(ROOT / "benchmarks" / "against.py"), run_name="__main__")


def test_each_tree_runs_with_its_own_package(other: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    benchmark = tmp_path / "speed.py"
    benchmark.write_text(SPEED)
    against(monkeypatch, other, benchmark, "--rounds", 1)
    assert "| speed | 4 | 2 | 2.00 (2.00 to 2.00) |" in capsys.readouterr().out
    against(monkeypatch, other, benchmark, "--rounds", 1, "--given=1", "--here=--alone")
    assert "| speed | 12 | 4 | 3.00 (3.00 to 3.00) |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("revision", "text", "message"),
    [
        ("no-such-revision", "", "no-such-revision is no folder and no revision of git"),
        (str(ROOT / "docs"), "", "has no package omnigen2; give the root of a checkout"),
        (str(ROOT), "print('done')", "the last line that speed.py printed is no JSON object of numbers"),
        (str(ROOT), "raise SystemExit(3)", "speed.py --rest failed with the package in"),
        (str(ROOT), None, "there is no benchmark .*speed.py in .*benchmarks"),
    ],
)
def test_refusals(revision: str, text: str | None, message: str, tmp_path: Path, monkeypatch) -> None:
    benchmark = tmp_path / "speed.py"
    if text is not None:
        benchmark.write_text(text)
    with pytest.raises(SystemExit, match=message):
        against(monkeypatch, revision, benchmark, "--rest")
