"""The classes that a recipe names: where they are, what they are derived from, and which parameters they have."""

import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from jsonargparse import ArgumentParser

from omnigen2.errors import UserError


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Suggest the right name for a misspelt one: `; did you mean {prefix}X?`, or nothing if no known name is near."""
    matches = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {prefix}{matches[0]}?" if matches else ""


def imported(path: str, bases: Sequence[type] = ()) -> Any:
    """What an import path names; or, without a dot, a class that is derived from one of some bases.

    Raises:
        UserError: If there is none.
    """
    module, dot, name = path.rpartition(".")
    if not dot:
        known = {known.rpartition(".")[2]: known for base in bases for known in derived(base)}
        if path in known:
            return imported(known[path])
        raise UserError(f"there is no class {path!r:.60}{nearest(path, known)}", "write `package.module.Class`")
    if not all(part.isidentifier() for part in path.split(".")):
        raise UserError(f"{path!r:.60} is no import path", "write `package.module.Class`")
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever a module of the user's own may raise
        raise UserError(f"{path} does not import: {error}") from error
    if not hasattr(found, name):
        raise UserError(f"{module} has no {name}{nearest(name, vars(found))}")
    return getattr(found, name)


def found_at(class_path: str) -> Any:
    """What a dotted path names; None if it does not import, for whatever reason, or is no such path."""
    try:
        return imported(class_path)
    except UserError:
        return None


def derived(base: type) -> Iterator[str]:
    """The shortest import paths of the classes that are derived from one and can be used as they are."""
    for one in type.__subclasses__(base):
        parts = one.__module__.split(".")
        places = [".".join(parts[: length + 1]) for length in range(len(parts))]
        public = [place for place in places if getattr(sys.modules.get(place), one.__name__, None) is one]
        if public and not inspect.isabstract(one) and not one.__name__.startswith("_"):
            yield f"{public[0]}.{one.__name__}"
        yield from derived(one)


@cache
def parser_of(owner: type) -> ArgumentParser | None:
    """A parser of a class's parameters, its parents' too if it hands `**kwargs` on; None if there cannot be one."""
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False, parser_mode="yaml", add_help=False)
    try:
        parser.add_class_arguments(owner, fail_untyped=False)
    except Exception:  # whatever the types of somebody's class lead to
        return None
    return parser


def known_keys(parser: ArgumentParser) -> list[str]:
    """Every dotted key that a parser knows; argparse offers no other way to them."""
    return [action.dest for action in parser._actions]  # pyright: ignore[reportPrivateUsage]


def parameters_of(class_path: str) -> list[str] | None:
    """Names of a class's parameters; None if it does not import."""
    owner = found_at(class_path)
    parser = parser_of(owner) if inspect.isclass(owner) else None
    return None if parser is None else sorted({key.partition(".")[0] for key in known_keys(parser)})
