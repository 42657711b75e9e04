"""Checks a block of a recipe that is no part of a run, such as `study` or `stages`."""

from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import (
    ActionConfigFile,  # pyright: ignore[reportPrivateImportUsage]
    ArgumentParser,
    Namespace,
)

from omnigen2.errors import UserError
from omnigen2.runner.recipe.messages import building, explain
from omnigen2.runner.recipe.recipe import Document, as_yaml


def read_block(
    types: Mapping[str, Any], document: Document, options: Sequence[str], files: Sequence[Path]
) -> Namespace:
    """Check a block of a recipe and build what it describes.

    Text such as `a: b` inside of a mapping is read as YAML once more; where that matters, take the text of the file.

    Args:
        types: The type of each key.
        document: Some of the keys, as written.
        options: Of the form `--key=value`; they are applied last.
        files: The files of the recipe, to name them in messages.

    Returns:
        The values by key; None for a key that is not given.

    Raises:
        UserError: If a key, a value or a class is wrong.
    """
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False, parser_mode="yaml")
    parser.add_argument("--config", action=ActionConfigFile)
    for key, kind in types.items():
        parser.add_argument(f"--{key}", type=kind)
    arguments = [f"--config={as_yaml(document)}", *options]
    try:
        parsed = parser.parse_args(arguments)
        with building():
            return parser.instantiate(parsed)
    except ArgumentError as error:
        raise explain(error, parser, arguments, files).at(files[0]) from error
    except UserError as error:
        if not isinstance(error.__cause__, TypeError):
            raise
        raise explain(error.__cause__, parser, arguments, files).at(files[0]) from error  # no settings, or none at all
