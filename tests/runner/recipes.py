"""Writes small recipes for the tests, and runs the command in this process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from omnigen2.runner.plan import Config, Plan, parse, plan
from omnigen2.runner.recipe import Document, arguments, merged, read_recipe

PARTS = "tests.runner.toy_parts"
PLAIN: Document = {
    "seed_everything": 3,
    "vars": {"width": 4, "lr": 0.01},
    "trainer": {
        "accelerator": "cpu",
        "logger": False,
        "max_steps": 6,
        "log_every_n_steps": 1,
        "val_check_interval": 3,
        "enable_progress_bar": False,
    },
    "model": {"class_path": f"{PARTS}.Net", "init_args": {"width": "${vars.width}", "lr": "${vars.lr}"}},
    "data": {"class_path": f"{PARTS}.Data", "init_args": {"width": "${model.init_args.width}"}},
}


def write(path: Path, *layers: dict[str, Any]) -> Path:
    """Write one recipe from layers over nothing."""
    path.write_text(yaml.safe_dump(merged(layers), sort_keys=False))
    return path


def config_of(file: Path, *options: str, layers: Sequence[Path] = ()) -> Config:
    """What a plain recipe comes to under some layers and options."""
    recipe = read_recipe([file, *layers], options)
    return parse(arguments(recipe.files, recipe.documents, recipe.overrides), recipe.files)


def planned(*options: str, files: Sequence[str] = ("study.yaml",), folder: Path | None = None) -> Plan:
    """Plan a recipe of any form."""
    recipe = read_recipe([Path(file) for file in files], options)
    return plan(recipe, folder or Path("runs") / recipe.name)


def checkpoints_every(steps: int) -> dict[str, Any]:
    """A layer that keeps a checkpoint every few steps."""
    point = {"class_path": "omnigen2.runner.keep.ResumePoint", "init_args": {"every_n_train_steps": steps}}
    return {"trainer": {"callbacks": [point]}}
