"""Stages: what a recipe may say of them, and which settings a start is.

A start is nothing but two settings of the later stage, `model.init_args.weights` and, where the optimizer is carried,
`model.init_args.optimizer_state`. They hold paths into the earlier stage's folder, and are written `@stage/path` until
it is known.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from omnigen2.errors import UserError
from omnigen2.runner.keep import OPTIMIZER, OPTIMIZER_ARGUMENT, WEIGHTS
from omnigen2.runner.recipe import Document, found_at, merged, nearest, parameters_of

ARGUMENTS = ("model", "init_args")
FIELDS = ("recipe", "overrides", "start", "optimizer")


@dataclass
class StageSpec:
    """One stage as the recipe writes it, for the parser to check.

    The parser reads text such as `a: b` inside of a mapping as YAML once more; so the recipe and the overrides that
    count are those of the file.

    Attributes:
        recipe: A plain recipe: its path, counted from the file with the stages, or its content.
        overrides: Dotted keys or nested mappings over the recipe.
        start: `previous` (from nothing if there is none), `nothing`, or the name of an earlier stage.
        optimizer: `fresh`, or `carried`: it goes on with the state that the earlier stage's optimizer ended with.
    """

    recipe: str | dict[str, Any] | None = None
    overrides: dict[str, Any] = field(default_factory=dict[str, Any])
    start: str = "previous"
    optimizer: Literal["fresh", "carried"] = "fresh"

    @property
    def carried(self) -> bool:
        """Whether the optimizer goes on."""
        return self.optimizer == "carried"


def start_of(spec: StageSpec, overrides: Document, earlier: Sequence[str]) -> str | None:
    """The stage that a stage starts from, by what it says of that; None for none.

    Raises:
        UserError: If there is no such stage, or its overrides say something else.
    """
    match spec.start:
        case "nothing":
            start = None
        case "previous":
            start = earlier[-1] if earlier else None
        case _ if spec.start in earlier:
            start = spec.start
        case _:
            raise UserError(
                f"start: there is no earlier stage {spec.start!r}{nearest(spec.start, earlier)}",
                f"write previous, nothing, or one of: {', '.join(earlier) or '(this is the first stage)'}",
            )
    if start is None and spec.carried:
        raise UserError("optimizer: carried needs a stage to start from; name it with `start`, or write fresh")
    names = [key for key in (WEIGHTS, OPTIMIZER_ARGUMENT) if at(overrides, *ARGUMENTS, key) is not None]
    if start is not None and names:
        raise UserError(
            f"overrides set model.init_args.{names[0]}, and so does the start from {start}",
            "write `start: nothing` to keep the one in overrides",
        )
    return start


def start_arguments(start: str, carried: bool, options: Sequence[str]) -> dict[str, str | None]:
    """The arguments of a model that are a start, without those that an option says otherwise."""
    values: dict[str, str | None] = {WEIGHTS: f"@{start}/{WEIGHTS}"}
    if carried:
        values[OPTIMIZER_ARGUMENT] = f"@{start}/{WEIGHTS}/{OPTIMIZER}"
    given = {option.partition("=")[0].replace(".init_args", "") for option in options}
    return {name: value for name, value in values.items() if f"--model.{name}" not in given}


def check_start(start: str, spec: StageSpec, class_path: str) -> None:
    """Refuse a start for a class that cannot start from anything.

    Raises:
        UserError: If the class has no such parameter.
    """
    known = parameters_of(class_path) or []
    for key in (WEIGHTS, *([OPTIMIZER_ARGUMENT] if spec.carried else [])):
        if key not in known:
            remedy = "start: nothing" if key == WEIGHTS else "optimizer: fresh"
            raise UserError(f"{class_path} has no parameter {key!r}, so it cannot start from {start}; write `{remedy}`")


def check_reference(reference: str, class_path: str) -> None:
    """Refuse a reference to weights that a stage, whose model is of that class, will not leave.

    Raises:
        UserError: If the class has no method `save_weights`.
    """
    name, _, path = reference[1:].partition("/")
    if path.split("/")[0] == WEIGHTS and not hasattr(found_at(class_path), "save_weights"):
        raise UserError(
            f"{reference} will not exist: the model of {name}, {class_path}, has no method save_weights",
            "write `start: nothing`, or give the model that method (omnigen2.runner.keep.HandsOver)",
        )


def stage_document(draft: Document, start: str | None) -> Document:
    """A stage with all settings resolved, as it stands in a recipe."""
    if start is None:
        return {"recipe": draft, "start": "nothing"}
    carried = at(draft, *ARGUMENTS, OPTIMIZER_ARGUMENT) == f"@{start}/{WEIGHTS}/{OPTIMIZER}"
    unset = {"model": {"init_args": dict.fromkeys([WEIGHTS, OPTIMIZER_ARGUMENT] if carried else [WEIGHTS])}}
    return {"recipe": merged([draft, unset]), "start": start, "optimizer": "carried" if carried else "fresh"}


def at(document: Any, *keys: str) -> Any:
    """What stands under nested keys; None if nothing does."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def options_of_stages(overrides: Sequence[str], names: Collection[str]) -> dict[str, list[str]]:
    """The options for each stage: those for all, then its own `--stages.NAME.KEY=VALUE` as `--KEY=VALUE`.

    Raises:
        UserError: If there is no such stage, or its option is no setting of a recipe.
    """
    found = {name: [option for option in overrides if not option.startswith("--stages.")] for name in names}
    for option in overrides:
        if not option.startswith("--stages."):
            continue
        name, _, setting = option.removeprefix("--stages.").partition(".")
        key, _, value = setting.partition("=")
        if name.partition("=")[0] not in found:
            raise UserError(f"{option}: there is no stage {name!r}{nearest(name, names)}")
        if key in FIELDS[:-1] or key.startswith("overrides.") or (key == "optimizer" and value in ("fresh", "carried")):
            raise UserError(
                f"{option}: {key} of a stage is changed in the recipe or in a layer over it",
                f"an option changes a setting of its recipe, such as --stages.{name}.trainer.max_steps=100",
            )
        if not setting:
            raise UserError(f"{option} names no setting; write --stages.{name.partition('=')[0]}.KEY=VALUE")
        found[name].append(f"--{setting}")
    return found


def check_names(specs: Mapping[str, StageSpec], file: Path) -> None:
    """Refuse stages that cannot be told apart by their folders.

    Raises:
        UserError: If there is none, or a name cannot be used.
    """
    if not specs:
        raise UserError(f"{file}: stages is empty; name at least one stage")
    for name in specs:
        if not re.fullmatch(r"\w[\w+-]{0,199}", name):
            raise UserError(f"{file}: the stage {name!r} cannot name a folder; use letters, digits, and + - _")
        if name in ("previous", "nothing"):
            raise UserError(f"{file}: a stage cannot be called {name!r}, which has a meaning of its own as a start")
