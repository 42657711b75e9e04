"""Plans stages: which settings each one gets, and which earlier one it starts from.

A start is nothing but two settings of the later stage, `model.init_args.weights` and, where the optimizer is carried,
`model.init_args.optimizer_state`; they hold paths into the earlier stage's folder, written `@stage/path` until the
folder is known.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from omnigen2.errors import UserError
from omnigen2.runner.keep import OPTIMIZER, OPTIMIZER_ARGUMENT, WEIGHTS
from omnigen2.runner.plan.config import Config, Parse
from omnigen2.runner.recipe import (
    Document,
    Places,
    arguments,
    form_of,
    found_at,
    merged,
    nearest,
    nested,
    parameters_of,
    read_yaml,
    strings,
    to_references,
)

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


@dataclass(frozen=True)
class Stage:
    """A checked stage.

    Attributes:
        name: Its key under `stages`; also the name of its folder.
        folder: Where it is written.
        start: The stage whose weights it starts from; None for none.
        config: Its resolved configuration.
        alone: Parses the same without the start, to build the model before there are weights.
        references: What it needs of earlier stages: from paths to the `@stage/path` that they stand for.
    """

    name: str
    folder: Path
    start: str | None
    config: Config
    alone: Callable[[], Config]
    references: Mapping[str, str]

    @property
    def document(self) -> Document:
        """The stage with all settings resolved, and its references written as `@stage/path`."""
        recipe = to_references(self.config.values, self.references)
        if self.start is None:
            return {"recipe": recipe, "start": "nothing"}
        carried = _at(recipe, *ARGUMENTS, OPTIMIZER_ARGUMENT) == f"@{self.start}/{WEIGHTS}/{OPTIMIZER}"
        set_by_start = [WEIGHTS, OPTIMIZER_ARGUMENT] if carried else [WEIGHTS]
        unset = {"model": {"init_args": dict.fromkeys(set_by_start)}}
        optimizer = "carried" if carried else "fresh"
        return {"recipe": merged([recipe, unset]), "start": self.start, "optimizer": optimizer}


@dataclass
class StagePlanner:
    """Checks one stage after the other, since a stage may refer to earlier ones only.

    Attributes:
        folder: Where the stages are written.
        file: Paths of recipes are counted from it.
        common: Settings over the recipes of all stages and under their overrides.
        files: The files of the recipe, to name them in messages.
        parse: Reads the settings of a stage.
        base: The recipe of the stages that name none: its path as from here, or its content.
        stages: Those that are checked.
    """

    folder: Path
    file: Path
    common: Document
    files: Sequence[Path]
    parse: Parse
    base: Path | Document | None = None
    stages: dict[str, Stage] = field(default_factory=dict[str, Stage])

    def planned(
        self, specs: Mapping[str, StageSpec], blocks: Mapping[str, Document], overrides: Sequence[str]
    ) -> tuple[Stage, ...]:
        """Check all stages.

        Args:
            specs: The stages as the parser read them.
            blocks: The stages as they stand in the file.
            overrides: Options for all stages (`--key=value`) or for one (`--stages.name.key=value`).

        Raises:
            UserError: If anything in a stage is wrong.
        """
        _check(specs, self.file)
        for_all = [option for option in overrides if not option.startswith("--stages.")]
        options = _options_of_stages(overrides, list(specs))
        for name, spec in specs.items():
            try:
                self._add(name, spec, blocks[name], [*for_all, *options[name]])
            except UserError as error:
                raise error.at(f"stage {name}") from error
        return tuple(self.stages.values())

    def _add(self, name: str, spec: StageSpec, block: Document, options: Sequence[str]) -> None:
        places = Places({other: stage.folder for other, stage in self.stages.items()})
        recipe, document = self._recipe(spec, block, places)
        common, overrides = (places.filled(layer) for layer in (self.common, nested(block.get("overrides") or {})))
        settings = places.filled(list(options))
        files = (*self.files, *([recipe] if isinstance(recipe, Path) else []))
        layers, documents = [recipe, common, overrides], [document, common, overrides]

        def parsed(*start: Document) -> Config:
            return self.parse(tuple(arguments([*layers, *start], [*documents, *start], settings)), files)

        start = self._start(spec, overrides)
        if start is None:
            config = parsed()
        else:
            try:
                config = parsed(places.filled(_start_layer(start, carried=spec.optimizer == "carried")))
            except UserError:
                self._check_start(start, spec, parsed())  # perhaps the start is what is wrong
                raise
            self._check_start(start, spec, config)
        held = strings(config.values)
        used = {path: reference for path, reference in places.used.items() if path in held}
        for reference in used.values():
            self._check_reference(reference)
        if used.get(_at(config.values, *ARGUMENTS, WEIGHTS)) != f"@{start}/{WEIGHTS}":
            start = None  # an option has set other weights
        self.stages[name] = Stage(name, self.folder / name, start, config, parsed, used)

    def _recipe(self, spec: StageSpec, block: Document, places: Places) -> tuple[Path | Document, Document]:
        source = self.base if spec.recipe is None else block["recipe"]
        if source is None:
            raise UserError("it names no recipe; write `recipe: FILE.yaml`, or the recipe itself")
        if isinstance(source, str):
            source = self.file.parent / source
        document = read_yaml(source) if isinstance(source, Path) else places.filled(source)
        if (form := form_of(document)) != "plain":
            raise UserError(
                f"recipe: {source if isinstance(source, Path) else 'it'} has `{form}`; a stage needs a plain recipe"
            )
        return (source if isinstance(source, Path) else document), document

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
                    f"start: there is no earlier stage {spec.start!r}{nearest(spec.start, earlier)}",
                    f"write previous, nothing, or one of: {', '.join(earlier) or '(this is the first stage)'}",
                )
        if start is None and spec.optimizer == "carried":
            raise UserError("optimizer: carried needs a stage to start from; name it with `start`, or write fresh")
        names = [key for key in (WEIGHTS, OPTIMIZER_ARGUMENT) if _at(overrides, *ARGUMENTS, key) is not None]
        if start is not None and names:
            raise UserError(
                f"overrides set model.init_args.{names[0]}, and so does the start from {start}",
                "write `start: nothing` to keep the one in overrides",
            )
        return start

    def _check_start(self, start: str, spec: StageSpec, config: Config) -> None:
        class_path = str(config.values["model"]["class_path"])
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
                f"{reference} will not exist: the model of {name}, {class_path}, has no method save_weights",
                "write `start: nothing`, or give the model that method (omnigen2.runner.keep.HandsOver)",
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
                f"{option}: {key} of a stage is changed in the recipe or in a layer over it",
                f"an option changes a setting of its recipe, such as --stages.{name}.trainer.max_steps=100",
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
