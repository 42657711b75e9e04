"""A pipeline as a recipe: YAML that names steps by class_path and init_args, in the order in which they are done.

task: edit
steps:
  cuts: {class_path: omnigen2.curation.steps.Cuts}
  same_view: {class_path: omnigen2.curation.steps.SameView, init_args: {least: 0.5}}

What several steps share stands in `vars:` and is named as `${vars.NAME}`. What looks at all examples side by side, such
as `omnigen2.curation.steps.Duplicates`, stands in `together:`, in the same way as steps.
"""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import yaml

from omnigen2.curation.items import CurationError
from omnigen2.curation.records import Finished
from omnigen2.curation.step import Limiting, Step
from omnigen2.curation.together import Together
from omnigen2.data import Task
from omnigen2.errors import UserError
from omnigen2.files import StrictLoader, read_yaml

T = TypeVar("T")
KEYS = ("vars", "task", "files", "steps", "together", "sections")


class Section(ABC):
    """A part of the report that a recipe asks for, such as a comparison with the truth where it is known."""

    @abstractmethod
    def text(self, finished: Sequence[Finished], clips: Path) -> str:
        """In Markdown, with its heading.

        Args:
            finished: Everything so far, in the order of the clips' names.
            clips: The folder of the clips.
        """


@dataclass(frozen=True)
class Recipe:
    """What is done with each clip.

    Attributes:
        task: Of the examples.
        files: What the names of clips end in, in small letters.
        steps: By name, in their order.
        together: What looks at all examples at every end, by name, in their order.
        together_settings: What says so, which may change.
        sections: Of the report.
        settings: All that decides what becomes of a clip, as plain JSON.
    """

    task: Task
    files: tuple[str, ...]
    steps: Mapping[str, Step]
    together: Mapping[str, Together]
    together_settings: Mapping[str, Any]
    sections: tuple[Section, ...]
    settings: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """The same for recipes that make the same of a clip; the order of steps counts."""
        return hashlib.sha256(json.dumps(self.settings).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """What a store keeps of it: who it is, its settings, and its limits with their reasons."""
        limits = {
            name: {
                limit: {"value": value, "reason": step.reasons[limit] if isinstance(step, Limiting) else ""}
                for limit, value in step.limits.items()
            }
            for name, step in self.steps.items()
        }
        looked = self.together_settings
        return {"identity": self.identity, "settings": self.settings, "limits": limits, "together": looked}


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe and build its steps.

    Args:
        path: A YAML file.
        changes: `STEP.SETTING=VALUE` or `vars.NAME=VALUE`, with a value in YAML, in place of what the file says.

    Raises:
        CurationError: If it says nothing that can be built.
    """
    content = read_yaml(path, CurationError)
    if not isinstance(content, dict) or not isinstance(content.get("steps"), dict) or not content["steps"]:
        raise CurationError(f"{path} has no steps", "expected `steps:` with names, each with a class_path")
    unknown = sorted(content.keys() - set(KEYS))
    if unknown:
        raise CurationError(f"{path} has the unknown key {unknown[0]}", f"known are {', '.join(KEYS)}")
    if content.get("task") not in get_args(Task):
        raise CurationError(f"{path} has the task {content.get('task')!r}", f"use one of {', '.join(get_args(Task))}")
    for change in changes:
        _change(content, change)
    return _built(path, _resolved(path, content))


def _resolved(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """With what `${…}` stands for.

    Raises:
        CurationError: If it stands for nothing.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create(dict(content)), resolve=True))
    except OmegaConfBaseException as error:
        said = str(error).splitlines()[0]
        raise CurationError(f"{path} cannot be read ({said})", "define what it names in `vars:`") from error


def _change(content: dict[str, Any], change: str) -> None:
    """Set one setting of a step, or one of `vars`.

    Raises:
        CurationError: If there is no such step or name, or the change cannot be read.
    """
    place, equals, value = change.partition("=")
    step, dot, setting = place.partition(".")
    shared: dict[str, Any] = content.get("vars") or {}
    known = setting.partition(".")[0] in shared if step == "vars" else step in content["steps"]
    if not equals or not dot or not known:
        names = ", ".join((*content["steps"], *(f"vars.{name}" for name in shared)))
        raise CurationError(f"{change!r} changes nothing", f"write NAME.SETTING=VALUE for one of {names}")
    try:
        read: Any = yaml.load(value, StrictLoader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        raise CurationError(f"{change!r} has a value that is no YAML", "put it into quotes") from error
    inner: Any = shared
    if step != "vars":
        entry = content["steps"][step]
        if not isinstance(entry, dict):
            return  # refused where it is built
        inner = cast(dict[str, Any], entry).setdefault("init_args", {})
    *above, last = setting.split(".")
    for name in above:
        inner = inner.setdefault(name, {})
        if not isinstance(inner, dict):
            raise CurationError(f"{change!r} changes nothing", f"{name} is {inner!r}, without settings of its own")
    inner[last] = read


def _built(path: Path, content: dict[str, Any]) -> Recipe:
    steps: dict[str, Step] = {}
    settings: dict[str, Any] = {"task": content["task"], "steps": {}}
    for name, entry in content["steps"].items():
        steps[name], said = _one(Step, entry, f"{path}, steps.{name}")
        kept = _without(said.get("init_args") or {}, steps[name].elsewhere)
        settings["steps"][name] = {"class_path": said["class_path"], "init_args": kept}
    looked = content.get("together") or {}
    together = build_together(looked, str(path))
    sections = [
        _one(Section, entry, f"{path}, sections.{number}")[0]
        for number, entry in enumerate(content.get("sections") or [])
    ]
    files = content.get("files") or [".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v"]
    limits = [limit for step in steps.values() for limit in step.limits]
    twice = next((limit for limit in limits if limits.count(limit) > 1), None)
    if twice is not None:
        raise CurationError(f"{path} has two steps with the limit {twice}", "scores need names of their own")
    both = next((name for name in together if name in steps), None)
    if both is not None:
        raise CurationError(f"{path} has {both} in steps and in together", "give them names of their own")
    plain = json.loads(json.dumps(settings, default=str))
    ends = tuple(str(end).lower() for end in files)
    return Recipe(content["task"], ends, steps, together, looked, tuple(sections), plain)


def build_together(entries: Mapping[str, Any], place: str) -> dict[str, Together]:
    """What looks at all examples, of the classes and settings that a recipe names.

    Args:
        place: Where they stand, for messages.

    Raises:
        CurationError: If one cannot be built.
    """
    return {name: _one(Together, entry, f"{place}, together.{name}")[0] for name, entry in entries.items()}


def _one(kind: type[T], entry: Any, place: str) -> tuple[T, dict[str, Any]]:
    # an object of the class that is named, and all settings that made it
    from jsonargparse import ArgumentError, ArgumentParser  # pyright: ignore[reportPrivateImportUsage]

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(kind, "one", required=True)
    try:
        parsed: Any = parser.parse_object({"one": entry})
        return cast(Any, parser.instantiate(parsed)).one, parsed.one.as_dict()
    except (ArgumentError, TypeError, ValueError) as error:
        raise _wrong(place, error) from error


def _without(settings: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Settings less those of these names, such as `workers` or `server.urls`."""
    kept: dict[str, Any] = {}
    for key, value in settings.items():
        inner = [name.removeprefix(f"{key}.") for name in names if name.startswith(f"{key}.")]
        if key not in names:
            kept[key] = _without(cast(Mapping[str, Any], value), inner) if inner and isinstance(value, dict) else value
    return kept


def _wrong(place: str, error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error.at(place)
    said = " ".join(str(error).split())
    said = re.sub(r"^.*?Errors: - (.*?) - Expected a <class 'NoneType'>.*$", r"\1", said)
    return CurationError(f"{place} cannot be built ({said[:400]})", "correct its class_path or init_args")
