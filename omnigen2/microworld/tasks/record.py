"""Tasks as text and back, so that a specification can travel with a training example and be verified later."""

import json
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, TypeAlias, Union, get_args, get_origin, get_type_hints

from omnigen2.microworld.tasks.caption import Caption
from omnigen2.microworld.tasks.context import ContextTask
from omnigen2.microworld.tasks.edit import EditTask
from omnigen2.microworld.tasks.question import Question
from omnigen2.microworld.world import GlyphTask

Task: TypeAlias = Caption | EditTask | ContextTask | Question | GlyphTask
NAMES: dict[type[Task], str] = {
    Caption: "caption",
    EditTask: "edit",
    ContextTask: "context",
    Question: "question",
    GlyphTask: "glyphs",
}


def to_json(task: Task) -> str:
    """Write a task as one line, `{"task": its kind, "value": its fields}`; numbers keep all their digits."""
    return json.dumps({"task": NAMES[type(task)], "value": asdict(task)})


def from_json(text: str) -> Task:
    """Read what `to_json` has written.

    Raises:
        ValueError: If it is no JSON, or a field is missing, unknown, or has a value that it cannot have.
    """
    found = json.loads(text)
    kinds = {name: kind for kind, name in NAMES.items()}
    if not isinstance(found, dict) or set(found) != {"task", "value"} or found["task"] not in kinds:
        raise ValueError(
            f'expected a micro-world task, {{"task": one of {", ".join(kinds)}, "value": …}}, got {text[:80]!r}; '
            "write it with to_json"
        )
    return _read(kinds[found["task"]], found["value"], found["task"])


def _read(hint: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into what a type annotation asks for."""
    if isinstance(hint, type) and is_dataclass(hint):
        hints = _hints(hint)
        if not isinstance(value, dict) or set(value) != set(hints):
            _refuse(where, f"the fields {', '.join(hints)}", value)
        return hint(**{name: _read(kind, value[name], f"{where}.{name}") for name, kind in hints.items()})
    options = get_args(hint)
    if get_origin(hint) is Literal:
        if value not in options:
            _refuse(where, f"one of {', '.join(map(str, options))}", value)
        return value
    if get_origin(hint) in (Union, UnionType):
        return None if value is None else _read(next(o for o in options if o is not NoneType), value, where)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            _refuse(where, "a list", value)
        return tuple(_read(options[0], one, f"{where}[{number}]") for number, one in enumerate(value))
    return _plain(hint, value, where)


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """The type of each field of a dataclass; looking them up takes longer than reading a task."""
    types = get_type_hints(kind)
    return {field.name: types[field.name] for field in fields(kind)}


def _plain(hint: type, value: Any, where: str) -> Any:
    number = hint is float and type(value) is int
    if type(value) is not hint and not number:
        _refuse(where, hint.__name__, value)
    return float(value) if number else value


def _refuse(where: str, expected: str, value: Any) -> NoReturn:
    raise ValueError(f"{where} should be {expected}, got {value!r}; write tasks with to_json")
