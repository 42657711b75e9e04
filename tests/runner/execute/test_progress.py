"""How many steps a run has, as its progress tells it."""

from dataclasses import replace
from pathlib import Path

import pytest

from omnigen2.runner.execute.progress import Progress
from omnigen2.runner.execute.run import run
from omnigen2.runner.keep import locked
from tests.runner.recipes import PLAIN, config_of, write
from tests.runner.runs import SILENT


@pytest.mark.parametrize(
    ("limits", "steps"),
    [
        ({"max_steps": 6, "max_epochs": 1}, 4),
        ({"max_steps": 3, "max_epochs": 2}, 3),
        ({"max_steps": -1, "max_epochs": 2}, 8),
        ({"max_steps": 5, "max_epochs": -1}, 5),
        ({"max_steps": -1, "max_epochs": 1, "accumulate_grad_batches": 3}, 2),
    ],
)
def test_the_smaller_limit_counts(limits: dict[str, int], steps: int, tmp_path: Path) -> None:
    layer = {"trainer": {"enable_progress_bar": True, "limit_val_batches": 0, "val_check_interval": None, **limits}}
    recipe = write(tmp_path / "recipe.yaml", PLAIN, layer, {"data": {"init_args": {"steps": 4}}})
    said: list[Progress] = []
    with locked(tmp_path / "run"):
        summary = run(config_of(recipe), tmp_path / "run", "a command", replace(SILENT, send=said.append))
    assert summary["steps"] == steps
    assert {progress.steps for progress in said} == {steps}
    assert said[-1].step == steps
