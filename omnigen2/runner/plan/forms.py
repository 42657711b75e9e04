"""The three forms of a recipe, each made into a plan: one run, stages, or a study of rows and seeds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, assert_never

from omnigen2.errors import UserError
from omnigen2.runner.plan.config import SEEDS
from omnigen2.runner.plan.graph import Cell, Plan, Rank, Report, Row
from omnigen2.runner.plan.machines import Machines
from omnigen2.runner.plan.planner import CellSettings, Layer, Node, Planner
from omnigen2.runner.plan.stages import StageSpec, stage_document
from omnigen2.runner.plan.sweep import dotted, swept
from omnigen2.runner.recipe import Document, Recipe, document_of, merged, nested, read_block


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
        rows: By name; at least one, with those of `grid` and `random`.
        base: A plain recipe: its path, counted from the study's file, or its content. Rows of stages may do without.
        report: Makes the table; `MetricTable` if not given.
        watch: The metric to show while the study runs; the first loss if not given.
        rank: How the report orders the rows.
        grid: A row for each combination of values, see `sweep.py`; `random` likewise for draws.
    """

    seeds: list[int]
    rows: dict[str, RowSpec] = field(default_factory=dict[str, RowSpec])
    base: str | dict[str, Any] | None = None
    report: Report | None = None
    watch: str | None = None
    rank: Rank | None = None
    machines: Machines = field(default_factory=Machines)
    grid: dict[str, Any] | None = None
    random: dict[str, Any] | None = None


def plan(recipe: Recipe, folder: Path) -> Plan:
    """Check a recipe that is to be written into a folder, with all its runs.

    Raises:
        UserError: If anything in it is wrong.
    """
    match recipe.form:
        case "plain":
            return _plain(recipe, folder)
        case "stages":
            return _stages(recipe, folder)
        case "study":
            return _study(recipe, folder)
        case _:
            assert_never(recipe.form)


def _plain(recipe: Recipe, folder: Path) -> Plan:
    planner = Planner()
    node = planner.node(folder, planner.parse(recipe.files, recipe.overrides, recipe.files, None))
    return _planned(recipe, folder, planner, {(recipe.name, None): {recipe.name: node}}, node.config.values)


def _stages(recipe: Recipe, folder: Path) -> Plan:
    file, whole = recipe.files[0], merged(recipe.documents)
    if not all(isinstance(document.get("stages", {}), dict) for document in recipe.documents):
        raise UserError(f"{file}: `stages` must be a mapping of names to stages")
    blocks = {str(name): stage or {} for name, stage in whole.pop("stages").items()}
    around = {key: whole.pop(key) for key in ("report", "machines") if key in whole}
    kinds = {"stages": dict[str, StageSpec], "report": Report, "machines": Machines}
    read = read_block(kinds, {"stages": blocks, **around}, [], recipe.files)
    planner, settings = Planner(), CellSettings(file, recipe.files, whole, recipe.overrides)
    nodes = planner.stages(folder, read["stages"], blocks, settings)
    return _planned(
        recipe,
        folder,
        planner,
        {(recipe.name, None): nodes},
        {"stages": _documents(nodes), **around},
        report=read["report"],
        machines=read["machines"] or Machines(),
    )


def _study(recipe: Recipe, folder: Path) -> Plan:
    file, planner = recipe.files[0], Planner()
    block, extra, chosen, options = _blocks(recipe)
    base: Layer | None = given if isinstance(given := block.get("base"), dict) else None
    base = file.parent / given if isinstance(given, str) else base
    settings = planner.read(base, f"{file}: the base") if isinstance(base, Path) else base or {}
    files = (*recipe.files, *([base] if isinstance(base, Path) else []))
    if isinstance(rows := block.get("rows") or {}, dict):
        named = {str(name): _filled(row) for name, row in rows.items()}
        try:  # by the settings that are written, else by all that there are
            drawn = swept(block | {"rows": named}, dotted(merged([settings, extra])))
        except UserError:
            if base is None:
                raise
            resolved = planner.parse([base, extra], options, files, 0).values
            drawn = swept(block | {"rows": named}, dotted(resolved))
        block["rows"] = named | drawn
    spec: StudySpec = read_block({"study": StudySpec}, {"study": block}, chosen, recipe.files)["study"]
    _check(spec, file)
    cells: dict[Cell, dict[str, Node]] = {}
    for seed, (name, row) in product(spec.seeds, spec.rows.items()):
        own, place = block["rows"][name], folder / name / f"seed_{seed}"
        overrides = nested(own.get("overrides") or {})
        cell = CellSettings(file, files, merged([extra, overrides]), options, base, seed)
        try:
            if row.stages is not None:
                cells[name, seed] = planner.stages(place, row.stages, own["stages"], cell)
                continue
            if base is None:
                raise UserError("it has no stages, and the study has no base; write `base: FILE.yaml`")
            config = planner.parse([base, extra, overrides], options, files, seed)
            cells[name, seed] = {name: planner.node(place, config)}
        except UserError as error:
            raise error.at(f"row {name}") from error
    notes = {name: block["rows"][name].get("notes") or {} for name in spec.rows}
    titled = tuple(Row(name, row.title or name, notes[name]) for name, row in spec.rows.items())
    document = {"study": _study_document(block, titled, spec, cells)}
    others = {"report": spec.report, "watch": spec.watch, "rank": spec.rank, "machines": spec.machines}
    return _planned(recipe, folder, planner, cells, document, rows=titled, **others)


def _planned(
    recipe: Recipe,
    folder: Path,
    planner: Planner,
    cells: Mapping[Cell, Mapping[str, Node]],
    document: Document,
    rows: tuple[Row, ...] = (),
    **others: Any,
) -> Plan:
    runs = {
        cell: {stage: planner.run(node, folder, recipe.name) for stage, node in nodes.items()}
        for cell, nodes in cells.items()
    }
    found = {node: planner.run(node, folder, recipe.name) for node in planner.nodes.values()}
    return Plan(
        name=recipe.name,
        folder=folder,
        command=recipe.command,
        rows=rows or (Row(recipe.name, recipe.name, {}),),
        seeds=tuple(dict.fromkeys(seed for _, seed in cells)),
        cells=runs,
        document=document,
        links={place: run.folder for node, run in found.items() for place in node.places if place != run.folder},
        **others,
    )


def _documents(nodes: Mapping[str, Node]) -> Document:
    return {name: stage_document(node.config.values, node.start) for name, node in nodes.items()}


def _study_document(
    block: Document, rows: tuple[Row, ...], spec: StudySpec, cells: Mapping[Cell, Mapping[str, Node]]
) -> Document:
    # The base is the first row without stages; others say what they have otherwise.
    first = {row.name: cells[row.name, spec.seeds[0]] for row in rows}
    plain = {name: nodes[name].config.values for name, nodes in first.items() if spec.rows[name].stages is None}
    base = next(iter(plain.values()), {})
    written: Document = {}
    for row in rows:
        written[row.name] = {"title": row.title, "notes": dict(row.notes)}
        if row.name in plain:
            changed = {key: value for key, value in plain[row.name].items() if value != base.get(key)}
            written[row.name]["overrides"] = changed
        else:
            written[row.name]["stages"] = _documents(first[row.name])
    kept = {key: value for key, value in block.items() if key not in ("grid", "random")}
    return kept | {"base": base or None, "seeds": list(spec.seeds), "rows": written}


def _blocks(recipe: Recipe) -> tuple[Document, Document, list[str], list[str]]:
    """The block of a study, the settings beside it, and the options for either.

    Raises:
        UserError: If there is no such block, or an option changes its rows.
    """
    blocks = [document["study"] for document in recipe.documents if "study" in document]
    if not all(isinstance(block, dict) for block in blocks):
        raise UserError(f"{recipe.files[0]}: `study` must be a mapping with base, seeds and rows")
    chosen = [option for option in recipe.overrides if option.startswith("--study.")]
    if any(option.startswith("--study.rows") for option in chosen):
        raise UserError("rows are changed in the recipe or in a layer over it, not by an option --study.rows")
    extra = merged({k: v for k, v in document.items() if k != "study"} for document in recipe.documents)
    block = document_of(chosen, under={"study": merged(blocks)})["study"]
    return block, extra, chosen, [option for option in recipe.overrides if option not in chosen]


def _filled(row: Any) -> Any:
    # `omni:` alone is the base itself, also as a stage
    if isinstance(row, dict) and isinstance(row.get("stages"), dict):
        return row | {"stages": {str(name): stage or {} for name, stage in row["stages"].items()}}
    return row or {}


def _check(spec: StudySpec, file: Path) -> None:
    doubled = sorted({seed for seed in spec.seeds if spec.seeds.count(seed) > 1})
    odd = [name for name in spec.rows if not re.fullmatch(r"(?!\.+$)[\w.+-]{1,200}", name)]
    wrong = [seed for seed in spec.seeds if not 0 <= seed < SEEDS]
    if not spec.seeds:
        raise UserError(f"{file}: study.seeds is empty; name at least one, such as [0]")
    if wrong:
        raise UserError(f"{file}: study.seeds has {wrong[0]}; a seed is at least 0 and below {SEEDS} (2^32)")
    if doubled:
        raise UserError(f"{file}: study.seeds has {', '.join(map(str, doubled))} twice; every seed is one run per row")
    if not spec.rows:
        raise UserError(f"{file}: study.rows is empty; name at least one row")
    if odd:
        raise UserError(f"{file}: the row {odd[0]!r} cannot name a folder; use letters, digits, and . + - _")
