"""A guard for learning: what a micro recipe learns in a minute must not get worse, or too good, in silence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import RECIPES, ROOT

STEPS = 200
RUN = "import sys; from omnigen2.cli import lightning_main; sys.exit(lightning_main(sys.argv[1:]))"
"""In a process of its own: without the checks of annotations, and with the threads that the recipe wants."""


@pytest.mark.slow
def test_a_minute_of_pre_training_learns_as_much_as_ever(tmp_path: Path) -> None:
    """200 steps of the first pre-training stage (text-to-image at 16 x 16 pixels), seed 0, one thread.

        pytest -m slow tests/recipes/test_learning.py

    TO BE FILLED
    """
    command = ["run", str(RECIPES / "micro/pretrain_16_t2i.yaml"), f"--out={tmp_path / 'run'}"]
    settings = [f"--vars.steps={STEPS}", f"--vars.interval={STEPS}", "--vars.per_kind=8"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", RUN, *command, *settings], cwd=ROOT, env=environment, check=True)
    final = json.loads((tmp_path / "run" / "run.json").read_text())["final"]
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())["model"]
    assert 0.26 < final["eval/loss"] < 0.285
    assert scores["geneval_graded/overall/graded"] > 0.25
