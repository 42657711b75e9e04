"""Finds what a parser refuses in a document: each setting is held against the parser or the class that it is for."""

import inspect
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, is_dataclass
from datetime import date, timedelta
from enum import Enum
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace

from omnigen2.errors import UserError
from omnigen2.runner.recipe.classes import derived, imported, known_keys, nearest, parser_of
from omnigen2.runner.recipe.recipe import Document
from omnigen2.runner.recipe.settings import SPECIAL, value_at
from omnigen2.runner.recipe.where import ANY

CLASS = "a class: {class_path: NAME, init_args: {…}}"
STUDY = "for a run with each of several values write a study (`study:` with `rows`), see omnigen2/runner/README.md"
LOGGER = "name a class, such as --trainer.logger=WandbLogger (metrics.csv is written in any case)"
LISTED = "; --print_config lists the settings that the recipe has"
GIVEN = ("params", "optimizer")
"""Parameters of optimizers and schedules that no recipe gives."""
OPTIONS = ("config", "help", "print_config", "print_shtab")
"""What a parser knows and no recipe holds."""


@dataclass(frozen=True)
class Fault:
    """A setting, by its dotted names, and what is wrong with its value."""

    setting: str
    message: str
    remedy: str = ""
    value: Any = ANY


def top_level(known: Sequence[str]) -> list[str]:
    """The first parts of dotted keys, each once, sorted."""
    return sorted({name.split(".")[0] for name in known if name not in OPTIONS})


def fault(parser: ArgumentParser, document: Document, at: str = "", owner: str = "") -> Fault | None:
    """The first setting of a document that a parser refuses; None if there is none.

    Args:
        parser: Of the whole recipe, or of the parameters of a class.
        at: Where the document stands in the recipe.
        owner: The import path of the class.
    """
    actions = parser._actions  # pyright: ignore[reportPrivateUsage]
    if wrong := _unknown(known_keys(parser), document, at, owner):
        return wrong
    of = f" (of {owner})" if owner else ""
    for action in actions:
        value, setting = value_at(document, action.dest), _joined(at, action.dest)
        hint = getattr(action, "_typehint", None)
        if hint is None or value is ANY or _accepted(parser, action.dest, value):
            continue
        if wrong := _inside(hint, value, setting):
            return wrong
        shown = value if isinstance(value, str) and value.strip() else repr(value)
        message = f"{setting}{of}: expected {_words(hint)}, got {shown:.60}"
        return Fault(setting, message, _remedy(hint, value), value)
    needed = [*(action.dest for action in actions if action.required), *getattr(parser, "_extra_required_keys", ())]
    if lacking := [name for name in needed if name not in GIVEN and value_at(document, name) is ANY]:
        written = ", ".join(f"{name}: …" for name in lacking)
        what = f"{owner} (at {at})" if owner else at or "the recipe"
        remedy = f"write `init_args: {{{written}}}` beside its class_path" if owner else f"write `{written}`"
        return Fault(at, f"{what} lacks {', '.join(lacking)}", remedy)
    return None


def unknown_option(option: str, known: Sequence[str]) -> str:
    """What is wrong with the name of an option `--key=value`; nothing if it may be right."""
    key = option[2:].partition("=")[0].rstrip("+")
    first, dot, _ = key.partition(".")
    leaves = [name for name in known if not _inner(known, name)]
    if key in known or any(key.startswith(f"{leaf}.") for leaf in leaves):
        return ""
    outside = bool(dot) and first not in top_level(known)
    near = nearest(first, top_level(known), "--") if outside else nearest(key, known, "--")
    return f"unknown option --{key}{near or LISTED}"


def _unknown(known: Sequence[str], document: Document, at: str, owner: str, group: str = "") -> Fault | None:
    for key, value in document.items():
        name = _joined(group, key)
        inside, setting = _inner(known, name), _joined(at, name)
        if inside and isinstance(value, dict):
            if wrong := _unknown(known, value, at, owner, name):
                return wrong
        elif inside:
            return _no_settings(setting, value)
        elif name not in known:
            below = f"{group}." if group else ""
            names = top_level([one.removeprefix(below) for one in known if one.startswith(below)])
            near = nearest(key, names)
            if owner:
                return Fault(setting, f"{owner} (at {at}) has no parameter {key!r}{near}")
            if group or at:
                return Fault(setting, f"{_joined(at, group)} has no setting {key!r}{near or LISTED}")
            listed = f"; known keys: {', '.join(names)}"
            return Fault(setting, f"unknown key {key!r}{near or listed}")
    return None


def _inner(known: Sequence[str], name: str) -> bool:
    # a key such as `trainer`, which has settings of its own
    return any(one.startswith(f"{name}.") and one != f"{name}.help" for one in known)


def _inside(hint: Any, value: Any, at: str) -> Fault | None:
    """What is wrong in a value that holds others: a class with its arguments, or several of them."""
    bases = list(_classes(hint))
    if isinstance(value, list):
        return next((wrong for one in value if (wrong := _inside(hint, one, at))), None)
    if isinstance(value, str) and bases and not any(arm in (int, float) for arm in _arms(hint)):
        return _in_class({"class_path": value}, bases, at)
    if isinstance(value, dict) and isinstance(value.get("class_path"), str):
        return _in_class(value, bases, at)
    for arm in _arms(hint):
        if get_origin(arm) is dict and isinstance(value, dict):
            found = (_inside(get_args(arm)[1], inner, f"{at}.{name}") for name, inner in value.items())
            return next(filter(None, found), None)
        if inspect.isclass(arm) and is_dataclass(arm):
            parser = parser_of(arm)
            return fault(parser, value, at) if parser and isinstance(value, dict) else _no_settings(at, value)
    return None


def _no_settings(at: str, value: Any) -> Fault:
    remedy = f"write `{at.rpartition('.')[2]}: {{name: value}}`"
    return Fault(at, f"{at} is {value!r:.60}, expected settings", remedy, value)


def _in_class(spec: Document, bases: Sequence[type], at: str) -> Fault | None:
    path = spec["class_path"]
    try:
        owner = imported(path, bases)
    except UserError as error:
        short = at == "trainer.logger" and "." not in path
        return Fault(at, f"{at}: {error.message}", LOGGER if short else error.remedy)
    if not inspect.isclass(owner):
        return None
    if inspect.isabstract(owner):
        missing = ", ".join(sorted(getattr(owner, "__abstractmethods__", ())))
        what = f"it does not define {missing}; name a class that is derived from it"
        return Fault(at, f"{at}: {path} cannot be used as it is: {what}")
    protocols = any(getattr(base, "_is_protocol", False) for base in bases)
    if bases and not protocols and not issubclass(owner, tuple(bases)):
        known = sorted({name for base in bases for name in derived(base)})
        remedy = f"known: {', '.join(known[:6])}" if known else ""
        return Fault(at, f"{at}: {path} is no {' or '.join(dict.fromkeys(base.__name__ for base in bases))}", remedy)
    if (parser := parser_of(owner)) is None:
        return None
    if odd := [str(key) for key in spec if key not in SPECIAL]:
        near = nearest(odd[0], (*SPECIAL, *top_level(known_keys(parser))))
        return Fault(f"{at}.{odd[0]}", f"{path} (at {at}) has no parameter {odd[0]!r}{near}")
    given = spec.get("init_args") or {}
    return fault(parser, given, at, path) if isinstance(given, dict) else None


def _accepted(parser: ArgumentParser, name: str, value: Any) -> bool:
    alone = Namespace()
    alone[name] = deepcopy(value)
    try:
        parser.validate(alone, skip_required=True)
    except Exception:  # whatever the class of a value may raise
        return False
    return True


def _arms(hint: Any) -> list[Any]:
    return [arm for one in get_args(hint) for arm in _arms(one)] if get_origin(hint) in (Union, UnionType) else [hint]


def _classes(hint: Any) -> Iterator[type]:
    """The classes in a type that a recipe writes as `class_path`."""
    if get_origin(hint) not in (None, Literal):
        for one in get_args(hint):
            yield from _classes(one)
    elif inspect.isclass(hint) and hint.__module__ not in ("builtins", "typing") and not is_dataclass(hint):
        yield from () if issubclass(hint, NoneType | Enum | PurePath | date | timedelta) else (hint,)


def _words(hint: Any) -> str:
    arms = [arm for arm in _arms(hint) if arm is not NoneType]
    literals = [value for arm in arms if get_origin(arm) is Literal for value in get_args(arm)]
    words = [CLASS] if list(_classes(hint)) else []
    words += [f"one of {', '.join(map(repr, literals))}"] if literals else []
    others = [arm for arm in arms if get_origin(arm) is not Literal and not list(_classes(arm))]
    words += [arm.__name__ if get_origin(arm) is None and inspect.isclass(arm) else str(arm) for arm in others]
    return " or ".join(words).replace("typing.", "")


def _remedy(hint: Any, value: Any) -> str:
    scalar = all(arm in (int, float, str, bool, NoneType) or get_origin(arm) is Literal for arm in _arms(hint))
    return STUDY if scalar and isinstance(value, list) else ""


def _joined(*names: str) -> str:
    return ".".join(filter(None, names))
