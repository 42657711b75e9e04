"""Seconds of an iteration of reinforcement learning: pictures drawn, scored and learned from.

    python benchmarks/rl.py [--recipe=RECIPE] [--iterations=6] [--KEY=VALUE …]

Runs the recipe of the package that is imported, `recipes/micro/rl_geneval.yaml` if none is given, with the overrides
and without its evaluations, and prints one line of JSON: the mean seconds of each part, and of the whole from the
start of one iteration to that of the next; means, since what is trained may differ from iteration to iteration. `cpu`
is the time that this process has computed in a whole, to which programs beside it add little; what a process of rewards
computes is not in it. The first iteration, which warms up, is left out.
"""

import argparse
import contextlib
import csv
import importlib
import inspect
import io
import itertools
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from omnigen2.cli import lightning_main

ROOT = Path(inspect.getfile(lightning_main)).parents[1]
PARTS = ("rollout", "reward", "update")


def timed(class_path: str) -> list[tuple[float, float]]:
    """Have the class of a recipe's model note when each training step begins, and what was computed by then."""
    module, name = class_path.rsplit(".", 1)
    owner = getattr(importlib.import_module(module), name)
    step, starts = owner.training_step, list[tuple[float, float]]()

    def noted(*arguments: Any, **named: Any) -> Any:
        starts.append((time.perf_counter(), time.process_time()))
        return step(*arguments, **named)

    owner.training_step = noted
    return starts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="recipes/micro/rl_geneval.yaml")
    parser.add_argument("--iterations", type=int, default=6, help="with the first, which is left out")
    arguments, overrides = parser.parse_known_args()
    os.chdir(ROOT)  # recipes name the shipped model by a relative path
    recipe = yaml.safe_load(Path(arguments.recipe).read_text())
    starts = timed(recipe["model"]["class_path"])
    given = {"steps": arguments.iterations * recipe["vars"]["updates"], "per_kind": 1, "before": "false"}
    words = [*(f"--vars.{name}={value}" for name, value in given.items()), *overrides]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
        if lightning_main(["run", arguments.recipe, "--out", f"{folder}/run", *words]):
            raise SystemExit(said.getvalue())
        (metrics,) = Path(folder).rglob("metrics.csv")
        rows = [row for row in csv.DictReader(metrics.open()) if row.get("seconds/update")]
    found = {name: fmean(float(row[f"seconds/{name}"]) for row in rows[1:]) for name in PARTS}
    whole, cpu = (fmean(b - a for a, b in itertools.pairwise(column[1:])) for column in zip(*starts, strict=True))
    found |= {"whole": whole, "cpu": cpu}
    print(json.dumps({name: round(value, 3) for name, value in found.items()} | {"package": str(ROOT)}))


if __name__ == "__main__":
    main()
