"""Reads a recipe (files, layers over them, options, references) and says in two lines what is wrong with it."""

from omnigen2.runner.recipe.block import read_block
from omnigen2.runner.recipe.classes import found_at, nearest, parameters_of
from omnigen2.runner.recipe.layers import arguments, merged, nested
from omnigen2.runner.recipe.messages import building, explain
from omnigen2.runner.recipe.recipe import Document, Recipe, as_yaml, form_of, read_recipe, read_yaml
from omnigen2.runner.recipe.references import Places, replaced
from omnigen2.runner.recipe.settings import document_of

__all__ = [
    "Document", "Places", "Recipe", "arguments", "as_yaml", "building", "document_of", "explain", "form_of", "found_at",
    "merged", "nearest", "nested", "parameters_of", "read_block", "read_recipe", "read_yaml", "replaced",
]  # fmt: skip
