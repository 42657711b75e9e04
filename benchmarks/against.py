"""One of our benchmarks on this tree and on another revision, alternating, and the ratios of what it measures.

    python benchmarks/against.py 12f6153 dit --samples 8
    python benchmarks/against.py ../other/checkout dit --here=--bfloat16

Each run is a process of its own, first this tree, then the other, as often as --rounds says, so that what else the
machine does falls on both. The benchmark is always this tree's file; the package it imports is the revision's, in a
temporary folder unpacked from git, or in the folder given. A benchmark that needs something that the revision does not
have fails there, and its error is shown. What is compared are the numbers of the last line that the benchmark prints,
one JSON object. Ratios are this tree over the other, round by round: their median and, in brackets, the smallest and
the largest.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def unpacked(revision: str, folder: Path) -> Path:
    """The revision's tree: the folder itself if it is one, else unpacked from git into `folder`."""
    if Path(revision).is_dir():
        if not (Path(revision) / "omnigen2").is_dir():
            raise SystemExit(f"the folder {revision} has no package omnigen2; give the root of a checkout")
        return Path(revision).resolve()
    done = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{revision} is no folder and no revision of git: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def measured(benchmark: Path, arguments: Sequence[str], tree: Path) -> dict[str, float]:
    """The numbers of one run with the package of a tree."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run(
        [sys.executable, str(benchmark), *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{benchmark.name} {' '.join(arguments)} failed with the package in {tree}\n{done.stdout}")
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
        return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}
    except (IndexError, AttributeError, ValueError):
        raise SystemExit(
            f"the last line that {benchmark.name} printed is no JSON object of numbers, which is what is compared:\n"
            f"{done.stdout[-300:]}"
        ) from None


def table(here: Sequence[dict[str, float]], there: Sequence[dict[str, float]], revision: str) -> list[str]:
    """A row for each number that both have, the medians and the ratios; names that one side alone has are told."""
    lines = [f"| | this tree | {revision} | ratio (smallest to largest) |", "|---|---|---|---|"]
    common = [name for name in here[0] if name in there[0]]
    for name in common:
        ours, theirs = [run[name] for run in here], [run[name] for run in there]
        ratios = [our / their if their else float("nan") for our, their in zip(ours, theirs, strict=True)]
        medians = f"{statistics.median(ours):.4g} | {statistics.median(theirs):.4g}"
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"| {name} | {medians} | {spread} |")
    if alone := sorted((here[0].keys() | there[0].keys()) - set(common)):
        lines.append(f"\nmeasured on one side only: {', '.join(alone)}")
    return lines


def main() -> None:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="a revision of git, or the root of another checkout")
    parser.add_argument("benchmark", help="its name, such as dit, or its file; what follows is given to it")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each")
    parser.add_argument("--here", action="append", default=[], help="one more argument for this tree alone")
    arguments, passed = parser.parse_known_args()
    named = ROOT / "benchmarks" / f"{arguments.benchmark}.py"
    benchmark = named if named.exists() else Path(arguments.benchmark).resolve()
    if not benchmark.exists():
        raise SystemExit(f"there is no benchmark {arguments.benchmark} in {ROOT / 'benchmarks'}, and no such file")
    here: list[dict[str, float]] = []
    there: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        other = unpacked(arguments.revision, Path(folder))
        for _ in range(max(1, arguments.rounds)):
            here.append(measured(benchmark, [*passed, *arguments.here], ROOT))
            there.append(measured(benchmark, passed, other))
    print("\n".join(table(here, there, arguments.revision)))


if __name__ == "__main__":
    main()
