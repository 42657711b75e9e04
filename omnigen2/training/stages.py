"""Stages: recipes that run one after the other, each starting from the weights of an earlier one.

A start is nothing but two settings of the later stage, `model.init_args.weights` and, where the optimizer is carried,
`model.init_args.optimizer_state`; they hold paths into the earlier stage's folder, written `@stage/path` until the
folder is known.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from omnigen2.training.block import read_block
from omnigen2.training.config import Config
from omnigen2.training.errors import UserError, found_at, nearest, parameters_of
from omnigen2.training.layers import arguments, merged, nested
from omnigen2.training.recipe import Document, Recipe, form_of, read_yaml
from omnigen2.training.references import Places, strings, to_references
from omnigen2.training.stages_report import StagesReport, StageTable
from omnigen2.training.weights import OPTIMIZER, OPTIMIZER_ARGUMENT, WEIGHTS

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


@dataclass(frozen=True)
class Stage:
    """A checked stage.

    Attributes:
        name: Its key under `stages`; also the name of its folder.
        folder: Where it is written.
        start: The stage whose weights it starts from; None for none.
        config: Its resolved configuration.
        alone: The same without the start, to build the model before there are weights; the same if there is no start.
        references: What it needs of earlier stages: from paths to the `@stage/path` that they stand for.
    """

    name: str
    folder: Path
    start: str | None
    config: Config
    alone: Config
    references: Mapping[str, str]

    @property
    def document(self) -> Document:
        """The configuration with its references written as `@stage/path`."""
        return to_references(self.config.values, self.references)


@dataclass(frozen=True)
class StagesPlan:
    """Checked stages: what will be run, and where.

    Attributes:
        name: The stem of the recipe.
        folder: Where everything is written.
        command: The command that runs the stages.
        stages: In the order of the recipe.
        report: Makes the report of the whole.
        source: The block `report`, as read; None if there is none.
    """

    name: str
    folder: Path
    command: str
    stages: tuple[Stage, ...]
    report: StagesReport
    source: Any

    @property
    def document(self) -> Document:
        """The stages with all settings resolved; a recipe that runs the same, under any name and in any folder."""
        stages = {stage.name: {"recipe": stage.document, "start": "nothing"} for stage in self.stages}
        return {"stages": stages} | ({} if self.source is None else {"report": self.source})

    @property
    def text(self) -> str:
        """`document` as YAML."""
        return yaml.safe_dump(self.document, sort_keys=False, allow_unicode=True)


def plan_stages(recipe: Recipe, folder: Path) -> StagesPlan:
    """Check all stages.

    Args:
        recipe: A recipe with `stages`, and layers over it.
        folder: Where the stages are written.

    Returns:
        The plan.

    Raises:
        UserError: If anything in the stages is wrong.
    """
    file = recipe.files[0]
    whole = merged(recipe.documents)
    block, source = whole.pop("stages"), whole.pop("report", None)
    if not all(isinstance(document.get("stages", {}), dict) for document in recipe.documents):
        raise UserError(f"{file}: `stages` must be a mapping of names to stages")
    block = {str(name): stage or {} for name, stage in block.items()}
    for_all = [option for option in recipe.overrides if not option.startswith("--stages.")]
    parsed = read_block(
        {"stages": dict[str, StageSpec], "report": StagesReport},
        {"stages": block} | ({} if source is None else {"report": source}),
        [],
        recipe.files,
    )
    specs: dict[str, StageSpec] = parsed["stages"]
    _check(specs, file)
    options = _options_of_stages(recipe.overrides, list(specs))
    planner = _Planner(folder, file, whole, recipe.files)
    for name, spec in specs.items():
        try:
            planner.add(name, spec, block[name], [*for_all, *options[name]])
        except UserError as error:
            raise UserError(f"stage {name}: {error}") from error
    return StagesPlan(
        name=recipe.name,
        folder=folder,
        command=recipe.command,
        stages=tuple(planner.stages.values()),
        report=parsed["report"] or StageTable(),
        source=source,
    )


class _Planner:
    """Checks one stage after the other, since a stage may refer to earlier ones only."""

    def __init__(self, folder: Path, file: Path, common: Document, files: Sequence[Path]) -> None:
        self.folder = folder
        self.file = file
        self.common = common
        self.files = files
        self.stages: dict[str, Stage] = {}

    def add(self, name: str, spec: StageSpec, block: Document, options: Sequence[str]) -> None:
        places = Places({other: stage.folder for other, stage in self.stages.items()})
        recipe, document = self._recipe(spec, block, places)
        common, overrides = (places.filled(layer) for layer in (self.common, nested(block.get("overrides") or {})))
        settings = places.filled(list(options))
        files = (*self.files, *([recipe] if isinstance(recipe, Path) else []))
        layers, documents = [recipe, common, overrides], [document, common, overrides]
        alone = config = Config(arguments(layers, documents, settings), files)
        start = self._start(spec, overrides)
        if start is not None:
            self._check_start(start, spec, alone)
            layer = places.filled(_start_layer(start, carried=spec.optimizer == "carried"))
            config = Config(arguments([*layers, layer], [*documents, layer], settings), files)
        held = strings(config.values)
        used = {path: reference for path, reference in places.used.items() if path in held}
        for reference in used.values():
            self._check_reference(reference)
        self.stages[name] = Stage(name, self.folder / name, start, config, alone, used)

    def _recipe(self, spec: StageSpec, block: Document, places: Places) -> tuple[Path | Document, Document]:
        if spec.recipe is None:
            raise UserError("it names no recipe; write `recipe: FILE.yaml`, or the recipe itself")
        path = self.file.parent / spec.recipe if isinstance(spec.recipe, str) else None
        document = places.filled(block["recipe"]) if path is None else read_yaml(path)
        if (form := form_of(document)) != "plain":
            raise UserError(f"recipe: {path or 'it'} has `{form}`; a stage needs a plain recipe")
        return (document if path is None else path), document

    def _start(self, spec: StageSpec, overrides: Document) -> str | None:
        earlier = list(self.stages)
        match spec.start:
            case "nothing":
                start = None
            case "previous":
                start = earlier[-1] if earlier else None
            case _ if spec.start in self.stages:
                start = spec.start
            case _:
                raise UserError(
                    f"start: there is no earlier stage {spec.start!r}{nearest(spec.start, earlier)}\n"
                    f"  write previous, nothing, or one of: {', '.join(earlier) or '(this is the first stage)'}"
                )
        if start is None and spec.optimizer == "carried":
            raise UserError("optimizer: carried needs a stage to start from; name it with `start`, or write fresh")
        names = [key for key in (WEIGHTS, OPTIMIZER_ARGUMENT) if _at(overrides, "model", "init_args", key) is not None]
        if start is not None and names:
            raise UserError(
                f"overrides set model.init_args.{names[0]}, and so does the start from {start}\n"
                "  write `start: nothing` to keep the one in overrides"
            )
        return start

    def _check_start(self, start: str, spec: StageSpec, alone: Config) -> None:
        class_path = str(alone.values["model"]["class_path"])
        known = parameters_of(class_path) or []
        for key in (WEIGHTS, *([OPTIMIZER_ARGUMENT] if spec.optimizer == "carried" else [])):
            if key not in known:
                remedy = "start: nothing" if key == WEIGHTS else "optimizer: fresh"
                raise UserError(
                    f"{class_path} has no parameter {key!r}, so it cannot start from {start}; write `{remedy}`"
                )

    def _check_reference(self, reference: str) -> None:
        name, _, path = reference[1:].partition("/")
        class_path = str(self.stages[name].config.values["model"]["class_path"])
        if path.split("/")[0] == WEIGHTS and not hasattr(found_at(class_path), "save_weights"):
            raise UserError(
                f"{reference} will not exist: the model of {name}, {class_path}, has no method save_weights\n"
                "  write `start: nothing`, or give the model that method (omnigen2.training.weights.HandsOver)"
            )


def _at(document: Any, *keys: str) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _start_layer(start: str, carried: bool) -> Document:
    values = {WEIGHTS: f"@{start}/{WEIGHTS}"}
    if carried:
        values[OPTIMIZER_ARGUMENT] = f"@{start}/{WEIGHTS}/{OPTIMIZER}"
    return {"model": {"init_args": values}}


def _options_of_stages(overrides: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    # The options `--stages.NAME.KEY=VALUE` by name, as `--KEY=VALUE`.
    found: dict[str, list[str]] = {name: [] for name in names}
    for option in overrides:
        if not option.startswith("--stages."):
            continue
        name, _, setting = option.removeprefix("--stages.").partition(".")
        key, _, value = setting.partition("=")
        if name.partition("=")[0] not in found:
            raise UserError(f"{option}: there is no stage {name!r}{nearest(name, names)}")
        if key in FIELDS[:-1] or key.startswith("overrides.") or (key == "optimizer" and value in ("fresh", "carried")):
            raise UserError(
                f"{option}: {key} of a stage is changed in the recipe or in a layer over it\n"
                f"  an option changes a setting of its recipe, such as --stages.{name}.trainer.max_steps=100"
            )
        if not setting:
            raise UserError(f"{option} names no setting; write --stages.{name.partition('=')[0]}.KEY=VALUE")
        found[name].append(f"--{setting}")
    return found


def _check(specs: Mapping[str, StageSpec], file: Path) -> None:
    if not specs:
        raise UserError(f"{file}: stages is empty; name at least one stage")
    for name in specs:
        if not re.fullmatch(r"\w[\w+-]*", name):
            raise UserError(f"{file}: the stage {name!r} cannot name a folder; use letters, digits, and + - _")
        if name in ("previous", "nothing"):
            raise UserError(f"{file}: a stage cannot be called {name!r}, which has a meaning of its own as a start")
