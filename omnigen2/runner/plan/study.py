"""A study: a base recipe, rows of overrides or of stages, seeds, and the report that makes a table of the runs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from omnigen2.errors import UserError
from omnigen2.runner.plan.config import Config, Parse, remembering
from omnigen2.runner.plan.stage_planner import StagePlanner, StageSpec
from omnigen2.runner.plan.stages import StagesPlan
from omnigen2.runner.recipe import Document, Recipe, arguments, form_of, merged, nested, read_block, read_yaml
from omnigen2.runner.reports import MetricTable, Row, StageTable, StudyReport


@dataclass
class RowSpec:
    """One row as the recipe writes it, for the parser to check.

    The parser reads text such as `a: b` inside of a mapping as YAML once more; so the overrides and the notes that
    count are those of the file.

    Attributes:
        title: What the report calls it; its name if not given.
        overrides: Dotted keys or nested mappings over the base; over the recipes of all stages if the row has stages.
        stages: Makes every cell of the row a run of stages; those without a recipe have the base's.
        notes: Anything the report should know.
    """

    title: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    stages: dict[str, StageSpec] | None = None


@dataclass
class StudySpec:
    """The block `study` of a recipe.

    Attributes:
        seeds: At least one, each once.
        rows: At least one, by name.
        base: A plain recipe: its path, counted from the study's file, or its content. Rows of stages may do without.
        report: Makes the table; `MetricTable` if not given.
        watch: The metric to show while the study runs; the first loss if not given.
    """

    seeds: list[int]
    rows: dict[str, RowSpec]
    base: str | dict[str, Any] | None = None
    report: StudyReport | None = None
    watch: str | None = None


@dataclass(frozen=True)
class Plan:
    """A checked study: what will be run, and where.

    Attributes:
        name: The stem of the recipe.
        configs: The resolved configuration of every cell, or its stages, all rows of the first seed first.
        watch: The metric to show; None for the first loss.
        source: The block `study`, as read.
    """

    name: str
    folder: Path
    command: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    configs: Mapping[tuple[str, int], Config | StagesPlan]
    report: StudyReport
    watch: str | None
    source: Document

    @property
    def base(self) -> Document:
        """The resolved configuration of the first row without stages; what the other such rows differ from."""
        plain = [config.values for config in self.configs.values() if isinstance(config, Config)]
        return plain[0] if plain else {}

    @property
    def text(self) -> str:
        """The study with all settings resolved; a recipe that runs the same study."""
        rows: Document = {}
        for row in self.rows:
            config = self.configs[row.name, self.seeds[0]]
            rows[row.name] = {"title": row.title, "notes": dict(row.notes)}
            if isinstance(config, Config):
                changed = {key: value for key, value in config.values.items() if value != self.base.get(key)}
                rows[row.name]["overrides"] = changed
            else:
                rows[row.name]["stages"] = config.document["stages"]
        study = self.source | {"base": self.base or None, "seeds": list(self.seeds), "rows": rows}
        return yaml.safe_dump({"study": study}, sort_keys=False, allow_unicode=True)

    def cell_folder(self, row: str, seed: int) -> Path:
        """Where a cell is written; the folder may not exist yet."""
        return cell_folder(self.folder, row, seed)


def cell_folder(folder: Path, row: str, seed: int) -> Path:
    """Where a cell of a study is written."""
    return folder / row / f"seed_{seed}"


def plan_study(recipe: Recipe, folder: Path) -> Plan:
    """Check a study that is to be written into a folder, and all its cells.

    Raises:
        UserError: If anything in the study, the base or a row is wrong.
    """
    blocks = [document["study"] for document in recipe.documents if "study" in document]
    if not all(isinstance(block, dict) for block in blocks):
        raise UserError(f"{recipe.files[0]}: `study` must be a mapping with base, seeds and rows")
    block = merged(blocks)
    if isinstance(rows := block.get("rows"), dict):
        block["rows"] = {str(name): _filled(row) for name, row in rows.items()}
    options = [option for option in recipe.overrides if option.startswith("--study.")]
    if any(option.startswith("--study.rows") for option in options):
        raise UserError("rows are changed in the recipe or in a layer over it, not by an option --study.rows")
    spec: StudySpec = read_block({"study": StudySpec}, {"study": block}, options, recipe.files)["study"]
    _check(spec, recipe.files[0])
    base = _base(spec.base if isinstance(spec.base, str) else block.get("base"), recipe.files[0])
    extra = merged({k: v for k, v in document.items() if k != "study"} for document in recipe.documents)
    planner = _CellPlanner(recipe, folder, base, extra, remembering())
    configs = {
        (name, seed): planner.planned(name, seed, row, block["rows"][name])
        for seed in spec.seeds
        for name, row in spec.rows.items()
    }
    notes = {name: block["rows"][name].get("notes") or {} for name in spec.rows}
    return Plan(
        name=recipe.name,
        folder=folder,
        command=recipe.command,
        rows=tuple(Row(name, row.title or name, notes[name]) for name, row in spec.rows.items()),
        seeds=tuple(spec.seeds),
        configs=configs,
        report=spec.report or MetricTable(),
        watch=spec.watch,
        source=block,
    )


@dataclass(frozen=True)
class _CellPlanner:
    recipe: Recipe
    folder: Path
    base: Path | Document | None
    extra: Document
    parse: Parse

    def planned(self, name: str, seed: int, row: RowSpec, block: Document) -> Config | StagesPlan:
        options = [option for option in self.recipe.overrides if not option.startswith("--study.")]
        settings = [*options, f"--seed_everything={seed}"]
        files = (*self.recipe.files, *([self.base] if isinstance(self.base, Path) else []))
        overrides = nested(block.get("overrides") or {})
        try:
            if row.stages is not None:
                common = merged([self.extra, overrides])
                folder = cell_folder(self.folder, name, seed)
                planner = StagePlanner(folder, self.recipe.files[0], common, files, self.parse, self.base)
                stages = planner.planned(row.stages, block["stages"], settings)
                return StagesPlan(name, folder, self.recipe.command, stages, StageTable(), None)
            if self.base is None:
                raise UserError("it has no stages, and the study has no base; write `base: FILE.yaml`")
            document = read_yaml(self.base) if isinstance(self.base, Path) else self.base
            layers = [self.base, self.extra, overrides]
            return self.parse(tuple(arguments(layers, [document, self.extra, overrides], settings)), files)
        except UserError as error:
            raise error.at(f"row {name}") from error


def _check(spec: StudySpec, file: Path) -> None:
    doubled = sorted({seed for seed in spec.seeds if spec.seeds.count(seed) > 1})
    odd = [name for name in spec.rows if not re.fullmatch(r"[\w.+-]+", name)]
    if not spec.seeds:
        raise UserError(f"{file}: study.seeds is empty; name at least one, such as [0]")
    if doubled:
        raise UserError(f"{file}: study.seeds has {', '.join(map(str, doubled))} twice; every seed is one run per row")
    if not spec.rows:
        raise UserError(f"{file}: study.rows is empty; name at least one row")
    if odd:
        raise UserError(f"{file}: the row {odd[0]!r} cannot name a folder; use letters, digits, and . + - _")


def _filled(row: Any) -> Any:
    # `omni:` alone is the base itself, also as a stage
    if isinstance(row, dict) and isinstance(row.get("stages"), dict):
        return row | {"stages": {str(name): stage or {} for name, stage in row["stages"].items()}}
    return row or {}


def _base(base: str | Document | None, file: Path) -> Path | Document | None:
    if not isinstance(base, str):
        return base
    path = file.parent / base
    document = read_yaml(path)
    if (form := form_of(document)) != "plain":
        article = {"study": "a study", "stages": "a recipe with stages"}[form]
        raise UserError(f"{file}: the base {path} is {article} itself; it must be a plain recipe")
    return path
