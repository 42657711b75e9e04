"""Lays recipes, overrides and options over one another, for the parser of `config.py`.

The parser merges layers itself, with two faults that are mended here. It replaces the block `vars`
where a later layer should add to it. And when a later layer changes a class, it drops those
`init_args` that are references (`${…}`), because a reference is not yet a number.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omnigen2.errors import UserError
from omnigen2.runner.recipe.classes import found_at, nearest, parameters_of
from omnigen2.runner.recipe.recipe import Document, as_yaml


def nested(overrides: Mapping[str, Any]) -> Document:
    """Expand dotted keys on the first level: `{"a.b": 1, "a": {"c": 2}}` becomes `{"a": {"b": 1, "c": 2}}`."""
    result: Document = {}
    for dotted, value in overrides.items():
        *parents, last = dotted.split(".")
        layer: Document = {last: value}
        for parent in reversed(parents):
            layer = {parent: layer}
        result = merged([result, layer])
    return result


def merged(layers: Iterable[Mapping[str, Any]]) -> Document:
    """Merge mappings into a new one, the later ones over the earlier ones; lists and single values are replaced.

    A class over another one takes over those of its `init_args` that it has too.
    """
    result: Document = {}
    for layer in layers:
        result = _over(result, layer)
    return result


def _over(old: Any, new: Any) -> Any:
    if not isinstance(old, dict):
        return _over({}, new) if isinstance(new, dict) else new
    if isinstance(new, str) and "class_path" in old and found_at(new):
        new = {"class_path": new}
    if not isinstance(new, dict):
        return new
    before, after = old.get("class_path"), new.get("class_path")
    known = parameters_of(str(after)) if before and after and before != after else None
    if known is not None and isinstance(given := old.get("init_args"), dict):
        old = old | {"init_args": {key: value for key, value in given.items() if key in known}}
    return old | {key: _over(old.get(key), value) for key, value in new.items()}


def arguments(layers: Sequence[Path | Document], documents: Sequence[Document], options: Sequence[str]) -> list[str]:
    """Write layers and options as arguments of the parser: `--config=…` for each layer, then the options.

    Args:
        layers: Files (whose relative paths count from the file) or mappings, the most important one last.
        documents: The contents of the layers.
        options: Of the form `--key=value`; they are applied last.

    Raises:
        UserError: If an option or an override sets a value under `vars` that no file has.
    """
    for layer, document in zip(layers, documents, strict=True):
        try:
            _check_kinds(document, "")
        except UserError as error:
            raise (error.at(layer) if isinstance(layer, Path) else error) from error
    _check_vars(layers, documents, options)
    whole = merged(documents)
    changed = {option: change for option in options if (change := _changed_class(option, whole))}
    changes = list(changed.values())
    whole = merged([whole, *changes])
    mended = merged([_references(whole), {"vars": whole["vars"]} if "vars" in whole else {}])
    configs = [str(layer) if isinstance(layer, Path) else as_yaml(layer) for layer in [*layers, *changes] if layer]
    configs += [as_yaml(mended)] if mended and len(configs) > 1 else []
    return [f"--config={config}" for config in configs] + [option for option in options if option not in changed]


def _check_kinds(value: Any, key: str) -> None:
    # What the parser takes for granted: vars are a mapping, classes are texts, their arguments a mapping.
    if isinstance(value, list):
        for number, inner in enumerate(value):
            _check_kinds(inner, f"{key}[{number}]")
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        at = f"{key}.{name}" if key else name
        mapping = (at == "vars" or name == "init_args") and not isinstance(inner, dict | None)
        reference = isinstance(inner, str) and "${" in inner
        if mapping and not reference:
            raise UserError(f"{at} is {inner!r:.60}, expected names with values", f"write `{name}: {{name: value}}`")
        if name == "class_path" and not isinstance(inner, str):
            raise UserError(
                f"{at} is {inner!r:.60}, expected the import path of a class", "write `package.module.Class`"
            )
        _check_kinds(inner, at)


def _check_vars(layers: Sequence[Path | Document], documents: Sequence[Document], options: Sequence[str]) -> None:
    # Refuse values that no file has and nothing refers to: they are misspelt, and would change nothing.
    pairs = list(enumerate(zip(layers, documents, strict=True)))
    named = merged(document for n, (layer, document) in pairs if n == 0 or isinstance(layer, Path)).get("vars") or {}
    known = {*named, *re.findall(r"\$\{vars\.(\w+)", " ".join((as_yaml(merged(documents)), *options)))}
    overridden = (
        merged(document for n, (layer, document) in pairs if n and not isinstance(layer, Path)).get("vars") or {}
    )
    asked = [option.removeprefix("--vars.") for option in options if option.startswith("--vars.")]
    for name in [*overridden, *(re.split(r"[.=]", option)[0] for option in asked)]:
        if name not in known:
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise UserError(f"there is no vars.{name} in the recipe{nearest(name, known, 'vars.')}", has)


def _changed_class(option: str, document: Document) -> Document:
    """Turn the option `--key.class_path=name` (or `--key=name` where the key holds a class) into a layer."""
    key, _, name = option.removeprefix("--").partition("=")
    key = key.removesuffix(".class_path")
    place: Any = document
    for part in key.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    is_class = isinstance(place, dict) and "class_path" in place and parameters_of(name) is not None
    return nested({f"{key}.class_path": name}) if is_class else {}


def _references(value: Document) -> Document:
    found = {key: _references(inner) if isinstance(inner, dict) else inner for key, inner in value.items()}
    return {key: one for key, one in found.items() if (one if isinstance(one, dict) else "${" in str(one))}
