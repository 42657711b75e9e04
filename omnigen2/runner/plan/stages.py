"""Stages: recipes that run one after the other, each starting from the weights of an earlier one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from omnigen2.errors import UserError
from omnigen2.runner.plan.config import remembering
from omnigen2.runner.plan.stage_planner import Stage, StagePlanner, StageSpec
from omnigen2.runner.recipe import Document, Recipe, merged, read_block
from omnigen2.runner.reports import StagesReport, StageTable


@dataclass(frozen=True)
class StagesPlan:
    """Checked stages: what will be run, and where.

    Attributes:
        name: The stem of the recipe.
        source: The block `report`, as read; None if there is none.
        twins: Folders in which stages of the same settings are trained too, by the name of the stage; see `twins.py`.
    """

    name: str
    folder: Path
    command: str
    stages: tuple[Stage, ...]
    report: StagesReport
    source: Any
    twins: Mapping[str, tuple[Path, ...]] = field(default_factory=dict[str, tuple[Path, ...]])

    @property
    def document(self) -> Document:
        """The stages with all settings resolved; a recipe that runs the same, under any name and in any folder."""
        stages = {stage.name: stage.document for stage in self.stages}
        return {"stages": stages} | ({} if self.source is None else {"report": self.source})

    @property
    def text(self) -> str:
        """`document` as YAML."""
        return yaml.safe_dump(self.document, sort_keys=False, allow_unicode=True)


def plan_stages(recipe: Recipe, folder: Path) -> StagesPlan:
    """Check all stages of a recipe that are to be written into a folder.

    Raises:
        UserError: If anything in the stages is wrong.
    """
    file = recipe.files[0]
    whole = merged(recipe.documents)
    block, source = whole.pop("stages"), whole.pop("report", None)
    if not all(isinstance(document.get("stages", {}), dict) for document in recipe.documents):
        raise UserError(f"{file}: `stages` must be a mapping of names to stages")
    block = {str(name): stage or {} for name, stage in block.items()}
    parsed = read_block(
        {"stages": dict[str, StageSpec], "report": StagesReport},
        {"stages": block} | ({} if source is None else {"report": source}),
        [],
        recipe.files,
    )
    planner = StagePlanner(folder, file, whole, recipe.files, remembering())
    return StagesPlan(
        name=recipe.name,
        folder=folder,
        command=recipe.command,
        stages=planner.planned(parsed["stages"], block, recipe.overrides),
        report=parsed["report"] or StageTable(),
        source=source,
    )
