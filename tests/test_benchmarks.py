"""The benchmarks run in miniature."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT


def run(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_gpu_benchmark(tmp_path: Path) -> None:
    """The command of its own help text."""
    text = (ROOT / "benchmarks" / "gpu_dit.py").read_text().replace("\\\n", " ")
    command = next(line.split() for line in text.splitlines() if "--device cpu" in line)
    assert command[:2] == ["python", "benchmarks/gpu_dit.py"]
    out = tmp_path / "report.md"
    printed = run(*command[1:], "--out", str(out))
    assert out.read_text() == printed
    assert "sdpa against float64: output" in printed
    assert printed.count("| no |") == 8


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "benchmarks").glob("*.py")))
def test_help(name: str) -> None:
    assert "usage:" in run(f"benchmarks/{name}", "--help")
