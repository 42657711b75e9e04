"""A study: a base recipe, rows of overrides, seeds, and the report that makes a table of the runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from omnigen2.training.block import read_block
from omnigen2.training.config import Config
from omnigen2.training.errors import UserError
from omnigen2.training.layers import arguments, merged, nested
from omnigen2.training.recipe import Document, Recipe, read_yaml
from omnigen2.training.report import MetricTable, Row, StudyReport


@dataclass
class RowSpec:
    """One row as the recipe writes it, for the parser to check.

    The parser reads text such as `a: b` inside of a mapping as YAML once more; so the overrides and the notes that
    count are those of the file.

    Attributes:
        title: What the report calls it; its name if not given.
        overrides: Dotted keys or nested mappings over the base.
        notes: Anything the report should know.
    """

    title: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class StudySpec:
    """The block `study` of a recipe.

    Attributes:
        base: A plain recipe: its path, counted from the study's file, or its content.
        seeds: At least one, each once.
        rows: At least one, by name.
        report: Makes the table; `MetricTable` if not given.
        watch: The metric to show while the study runs; the first loss if not given.
    """

    base: str | dict[str, Any]
    seeds: list[int]
    rows: dict[str, RowSpec]
    report: StudyReport | None = None
    watch: str | None = None


@dataclass(frozen=True)
class Plan:
    """A checked study: what will be run, and where.

    Attributes:
        name: The stem of the recipe.
        folder: Where everything is written.
        command: The command that runs the study.
        rows: In the order of the recipe.
        seeds: In the order of the recipe.
        configs: The resolved configuration of every cell, all rows of the first seed first.
        report: Makes the table.
        watch: The metric to show.
        source: The block `study`, as read.
    """

    name: str
    folder: Path
    command: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    configs: Mapping[tuple[str, int], Config]
    report: StudyReport
    watch: str | None
    source: Document

    @property
    def base(self) -> Document:
        """The resolved configuration of the first row; what the other rows differ from."""
        return self.configs[self.rows[0].name, self.seeds[0]].values

    @property
    def text(self) -> str:
        """The study with all settings resolved; a recipe that runs the same study."""
        rows: Document = {}
        for row in self.rows:
            values = self.configs[row.name, self.seeds[0]].values
            changed = {key: value for key, value in values.items() if value != self.base.get(key)}
            rows[row.name] = {"title": row.title, "overrides": changed, "notes": dict(row.notes)}
        study = self.source | {"base": self.base, "seeds": list(self.seeds), "rows": rows}
        return yaml.safe_dump({"study": study}, sort_keys=False, allow_unicode=True)

    def cell_folder(self, row: str, seed: int) -> Path:
        """Return where a cell is written.

        Args:
            row: Name of the row.
            seed: The seed.

        Returns:
            The folder; it may not exist yet.
        """
        return self.folder / row / f"seed_{seed}"


def plan_study(recipe: Recipe, folder: Path) -> Plan:
    """Check a study and all its cells.

    Args:
        recipe: A recipe with `study`, and layers over it.
        folder: Where the study is written.

    Returns:
        The plan.

    Raises:
        UserError: If anything in the study, the base or a row is wrong.
    """
    blocks = [document["study"] for document in recipe.documents if "study" in document]
    if not all(isinstance(block, dict) for block in blocks):
        raise UserError(f"{recipe.files[0]}: `study` must be a mapping with base, seeds and rows")
    block = merged(blocks)
    if isinstance(rows := block.get("rows"), dict):
        block["rows"] = {str(name): row or {} for name, row in rows.items()}  # `omni:` alone is the base itself
    options = [option for option in recipe.overrides if option.startswith("--study.")]
    if any(option.startswith("--study.rows") for option in options):
        raise UserError("rows are changed in the recipe or in a layer over it, not by an option --study.rows")
    spec, report = _parse(block, options, recipe.files)
    _check(spec, recipe.files[0])
    base, base_document = _base(spec.base if isinstance(spec.base, str) else block["base"], recipe.files[0])
    extra = merged({k: v for k, v in document.items() if k != "study"} for document in recipe.documents)
    others = [option for option in recipe.overrides if not option.startswith("--study.")]
    files = (*recipe.files, *([base] if isinstance(base, Path) else []))
    rows = tuple(
        Row(name, row.title or name, block["rows"][name].get("notes") or {}) for name, row in spec.rows.items()
    )
    configs: dict[tuple[str, int], Config] = {}
    for seed in spec.seeds:
        for name in spec.rows:
            overrides = nested(block["rows"][name].get("overrides") or {})
            documents = [base_document, extra, overrides]
            settings = [*others, f"--seed_everything={seed}"]
            configs[name, seed] = _config(name, arguments([base, extra, overrides], documents, settings), files)
    return Plan(
        name=recipe.name,
        folder=folder,
        command=recipe.command,
        rows=rows,
        seeds=tuple(spec.seeds),
        configs=configs,
        report=report,
        watch=spec.watch,
        source=block,
    )


def _config(row: str, words: Sequence[str], files: Sequence[Path]) -> Config:
    try:
        return Config(words, files)
    except UserError as error:
        raise UserError(f"row {row}: {error}") from error


def _parse(block: Document, options: Sequence[str], files: Sequence[Path]) -> tuple[StudySpec, StudyReport]:
    spec: StudySpec = read_block({"study": StudySpec}, {"study": block}, options, files)["study"]
    return spec, spec.report or MetricTable()


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


def _base(base: str | Document, file: Path) -> tuple[Path | Document, Document]:
    if isinstance(base, dict):
        return base, base
    path = file.parent / base
    document = read_yaml(path)
    if "study" in document:
        raise UserError(f"{file}: the base {path} is a study itself; it must be a plain recipe")
    return path, document
