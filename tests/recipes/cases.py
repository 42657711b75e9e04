"""Recipes read and built as a laptop can."""

from functools import cache
from pathlib import Path
from typing import Any

from omnigen2.runner.plan import Config, parse
from omnigen2.runner.recipe import arguments, read_recipe

ON_CPU = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}


@cache
def config_of(file: Path, *options: str) -> Config:
    recipe = read_recipe([file], options)
    return parse(arguments(recipe.files, recipe.documents, recipe.overrides), recipe.files)


def build(file: Path, *options: str) -> tuple[Any, Any, Any]:
    """Trainer, module and data, as a laptop can build them."""
    return config_of(file, *options).build(
        lambda callbacks, loggers: ON_CPU | {"callbacks": callbacks, "logger": False}
    )
