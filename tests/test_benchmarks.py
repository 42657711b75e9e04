"""The benchmarks run in miniature."""

import os
import subprocess
import sys
from pathlib import Path

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


ALL_HELP = """
import runpy, sys

for path in sys.argv[1:]:
    sys.argv = [path, "--help"]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        assert not end.code, (path, end.code)
    else:
        raise AssertionError(f"{path} --help did something")
"""


def test_each_says_what_it_does() -> None:
    """All in one process of their own: to import what they import takes seconds."""
    paths = sorted(str(path) for path in (ROOT / "benchmarks").glob("*.py"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")}
    done = subprocess.run(
        [sys.executable, "-c", ALL_HELP, *paths], capture_output=True, text=True, cwd=ROOT, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("usage:") == len(paths)
