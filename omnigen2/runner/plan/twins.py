"""Stages that several rows of a study have in common: the first row trains them, the others take what it has left.

A run depends on its settings and on the weights that it starts from, and on nothing else; so a stage with the same
settings, behind stages with the same settings, leaves the same weights.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from omnigen2.files import read_json, write_json, write_text
from omnigen2.runner.keep import CONFIG, LOCK, SUMMARY
from omnigen2.runner.plan.stage_planner import Stage
from omnigen2.runner.plan.stages import StagesPlan

Cell: TypeAlias = tuple[str, int]
"""The row and the seed of a cell of a study."""
START = "start.json"
"""In a stage's folder: which weights of earlier stages it was started with."""
OWN = (LOCK, START, CONFIG, SUMMARY, "checkpoints")
"""What a stage does not take from its twin: it has its own, or will never go on from there."""


def twins(plans: Mapping[Cell, StagesPlan]) -> dict[Cell, dict[str, tuple[Path, ...]]]:
    """Find the stages that do the same work; `plans` are in the order in which they are run.

    Returns:
        For each plan, by the name of a stage, the folders of its twins in other plans, those that are run earlier
        first.
    """
    keys = {(cell, stage.name): _key(stage, plan) for cell, plan in plans.items() for stage in plan.stages}
    places: dict[str, list[Path]] = {}
    for cell, plan in plans.items():
        for stage in plan.stages:
            places.setdefault(keys[cell, stage.name], []).append(stage.folder)
    found: dict[Cell, dict[str, tuple[Path, ...]]] = {}
    for cell, plan in plans.items():
        others = {s.name: tuple(f for f in places[keys[cell, s.name]] if f != s.folder) for s in plan.stages}
        found[cell] = {name: folders for name, folders in others.items() if folders}
    return found


def taken(stage: Stage, folders: Sequence[Path]) -> Path | None:
    """Make a stage that was not begun (its folder says what it starts from) a copy of a finished twin, if any.

    Returns:
        The folder that was copied; None if none was. The copy's `run.json` says `taken_from` and counts no seconds.
    """
    if (stage.folder / CONFIG).exists():
        return None
    for folder in folders:
        summary = read_json(folder / SUMMARY)
        if summary is None or read_json(folder / START) != read_json(stage.folder / START):
            continue
        shutil.copytree(folder, stage.folder, ignore=shutil.ignore_patterns(*OWN), dirs_exist_ok=True)
        write_text(stage.folder / CONFIG, stage.config.text)
        write_json(stage.folder / SUMMARY, summary | {"seconds": 0.0, "taken_from": str(folder)})
        return folder
    return None


def _key(stage: Stage, plan: StagesPlan) -> str:
    # The settings of the stage and of all that it refers to, without their folders.
    by_name = {other.name: other for other in plan.stages}
    documents: dict[str, object] = {}
    waiting = [stage.name]
    while waiting:
        name = waiting.pop()
        if name not in documents:
            documents[name] = by_name[name].document
            waiting += [reference[1:].partition("/")[0] for reference in by_name[name].references.values()]
    return json.dumps([stage.name, documents], sort_keys=True, default=str)
