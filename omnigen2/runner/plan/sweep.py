"""Rows of a study that nobody writes one by one: all combinations of some values (`grid`), or draws (`random`)."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from random import Random
from typing import Any

from omnigen2.errors import UserError
from omnigen2.runner.recipe import Document, nearest

MOST = 10_000
"""So many rows a sweep may have."""
NAME = re.compile(r"[\w.+-]{1,200}")
"""What a row may be called: its name is that of a folder."""
KINDS = ("choice", "integers", "log_uniform", "uniform")
KIND = "write one of `choice: [value, …]`, `integers`, `log_uniform` and `uniform: [low, high]`"
NAMED = "name the values: `{name: value, …}`"

Named = tuple[str, Any]
"""A value, behind what a row's name calls it."""


def swept(block: Document, known: Sequence[str]) -> dict[str, Document]:
    """The rows of a sweep, by a name that says their values and depends on nothing else.

    Args:
        block: The block `study`, with `grid`, `random`, both or neither; `rows` are those written one by one.
        known: The dotted keys of the base, among which a short name such as `lr` is looked up.

    Returns:
        Rows as a study writes them, with `title` and `overrides`; a longer `random` begins with the rows of a shorter.

    Raises:
        UserError: If anything is misspelt or impossible, or two rows have one name.
    """
    taken = {str(name) for name in block.get("rows") or ()}
    found: dict[str, Document] = {}
    for kind, rows in (("grid", _combinations), ("random", _draws)):
        for row in rows(block[kind], known) if block.get(kind) is not None else ():
            lasts = [setting.rpartition(".")[2] for setting in row]
            labels = [last if lasts.count(last) == 1 else setting for last, setting in zip(lasts, row, strict=True)]
            words = [word for word, _ in row.values()]
            name = "_".join(f"{label}-{word}" for label, word in zip(labels, words, strict=True))
            if not NAME.fullmatch(name):
                what = "which has letters, digits, and . + - _, 200 at most"
                raise UserError(f"study.{kind}: the row {name!r:.120} cannot name a folder, {what}", NAMED)
            if name in taken:
                raise UserError(f"study.{kind}: two rows are called {name}", f"leave one of them out, or {NAMED}")
            taken.add(name)
            title = ", ".join(f"{label} = {word}" for label, word in zip(labels, words, strict=True))
            found[name] = {"title": title, "overrides": {setting: value for setting, (_, value) in row.items()}}
    return found


def dotted(document: Mapping[str, Any], prefix: str = "") -> list[str]:
    """All dotted keys of nested mappings, those of the mappings themselves too."""
    found: list[str] = []
    for key, value in document.items():
        found += [f"{prefix}{key}", *(dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else ())]
    return found


def _combinations(block: Any, known: Sequence[str]) -> Iterator[dict[str, Named]]:
    settings = {setting: _values(value, at) for setting, (at, value) in _settings(block, known, "study.grid").items()}
    _whole(math.prod(map(len, settings.values())), "the number of rows of study.grid", 1, MOST)
    for values in product(*settings.values()):
        yield dict(zip(settings, values, strict=True))


def _draws(block: Any, known: Sequence[str]) -> Iterator[dict[str, Named]]:
    at, keys = "study.random", ("count", "seed", "values")
    unknown = [key for key in block if key not in keys] if isinstance(block, dict) else [block]
    if unknown:
        what = f"{at}: there is no {unknown[0]!r:.60} in it{nearest(str(unknown[0]), keys)}"
        raise UserError(what, "write `random: {count: 20, seed: 0, values: {setting: {uniform: [low, high]}}}`")
    count, seed = _whole(block.get("count"), f"{at}.count", 1, MOST), _whole(block.get("seed", 0), f"{at}.seed")
    settings = _settings(block.get("values"), known, f"{at}.values")
    draws = {setting: _distribution(value, place) for setting, (place, value) in settings.items()}
    # A stream for each setting: others beside it change none of its draws. `random()` is the same in every Python.
    chances = {setting: Random(f"{seed} {setting}") for setting in draws}  # noqa: S311
    rows: set[tuple[str, ...]] = set()
    misses = 0
    while len(rows) < count:
        row = {setting: draw(int(chances[setting].random() * 2**53)) for setting, draw in draws.items()}
        if (words := tuple(word for word, _ in row.values())) not in rows:
            rows.add(words)
            misses = 0
            yield row
        elif (misses := misses + 1) > 1000 + 30 * count:
            what = f"{at}.count is {count}, and there are no more than {len(rows)} different rows"
            raise UserError(what, f"write `count: {len(rows)}`, or give the settings more values")


def _settings(block: Any, known: Sequence[str], at: str) -> dict[str, tuple[str, Any]]:
    # By the dotted setting: where it is written, and what.
    if not isinstance(block, dict) or not block:
        raise UserError(f"{at} is {block!r:.60}, expected settings", f"write `{at.split('.')[-1]}: {{lr: …}}`")
    found: dict[str, tuple[str, Any]] = {}
    for key, value in block.items():
        if key == "seed_everything":
            raise UserError(f"{at}: every row is run with each of study.seeds", "write the seeds there")
        setting = _setting(str(key), known, at)
        if setting in found:
            raise UserError(f"{at} has the setting {setting} twice", "leave one out")
        found[setting] = f"{at}.{key}", value
    return found


def _setting(key: str, known: Sequence[str], at: str) -> str:
    if "." in key or key in known:
        return key
    if f"vars.{key}" in known:
        return f"vars.{key}"
    candidates = sorted({one for one in known if one.endswith(f".{key}")})
    if len(candidates) > 1:
        raise UserError(f"{at}: {key} may be {' or '.join(candidates)}", "write the one that is meant")
    if not candidates:
        near = nearest(key, {one.rpartition(".")[2] for one in known})
        raise UserError(f"{at}: the base has no {key}{near}", "write the whole setting, such as model.init_args.lr")
    return candidates[0]


def _values(values: Any, at: str) -> list[Named]:
    if not isinstance(values, list | dict) or not values:
        raise UserError(f"{at} is {values!r:.60}, expected values", f"write `[value, …]`, or {NAMED}")
    if isinstance(values, dict):
        return [(str(name), value) for name, value in values.items()]
    return [(value if isinstance(value, str) else json.dumps(value, default=repr), value) for value in values]


def _distribution(spec: Any, at: str) -> Callable[[int], Named]:
    # From a chance in [0, 2^53) to a value.
    if not isinstance(spec, dict) or len(spec) != 1:
        raise UserError(f"{at} is {spec!r:.60}, expected one distribution", KIND)
    ((kind, ends),) = spec.items()
    if kind not in KINDS:
        raise UserError(f"{at}: there is no distribution {kind!r}{nearest(str(kind), KINDS)}", KIND)
    if kind == "choice":
        values = _values(ends, f"{at}.choice")
        return lambda chance: values[chance * len(values) >> 53]
    whole, log = kind == "integers", kind == "log_uniform"
    if not isinstance(ends, list) or len(ends) != 2 or not all(_number(end, whole) for end in ends):
        raise UserError(f"{at}.{kind} is {ends!r:.60}, expected two {'whole ' if whole else ''}numbers: [low, high]")
    low, high = ends
    if low > high or (log and low <= 0):
        what = "low is above high" if low > high else f"{low} has no logarithm"
        raise UserError(f"{at}.{kind} is {ends}: {what}", "write [low, high]" + ", both above 0" * log)

    def drawn(chance: int) -> Named:
        if whole:
            value = low + (chance * (high - low + 1) >> 53)
        else:
            share, (first, last) = chance / 2**53, map(math.log, ends) if log else ends
            value = first * (1 - share) + last * share
            rounded = float(f"{math.exp(value) if log else value:.4g}")  # so that the row's name is the value
            value = float(min(max(rounded, low), high))
        return str(value), value

    return drawn


def _number(value: Any, whole: bool) -> bool:
    kinds = int if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and abs(value) <= 1e300


def _whole(value: Any, at: str, low: float = -math.inf, high: float = math.inf) -> int:
    if not _number(value, whole=True) or not low <= value <= high:
        between = f" from {low} to {high}" if high < math.inf else ""
        raise UserError(f"{at} is {value!r:.60}, expected a whole number{between}")
    return value
