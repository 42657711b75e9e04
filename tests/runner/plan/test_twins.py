"""Stages that rows of a study have in common are trained once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from omnigen2.cli import main
from omnigen2.files.text import write_json
from omnigen2.runner.execute.run import takes_more_steps
from omnigen2.runner.keep.metrics import read_metrics
from omnigen2.runner.plan.config import Config
from omnigen2.runner.plan.stage_planner import Stage
from omnigen2.runner.plan.stages import StagesPlan
from omnigen2.runner.plan.study import plan_study
from omnigen2.runner.plan.twins import Cell, taken, twins
from omnigen2.runner.recipe.recipe import Document, read_recipe
from tests.runner.stage_recipes import weights, write_stages

EDIT: Document = {"recipe": "parts/plain.yaml"}
OTHER: Document = {"recipe": "parts/plain.yaml", "overrides": {"data.init_args.first": 4, "trainer.max_steps": 2}}
ROWS: Document = {
    "edit": {"stages": {"edit": EDIT}},
    "edit_other": {"stages": {"edit": EDIT, "other": OTHER}},
    "edit_other_edit": {"stages": {"edit": EDIT, "other": OTHER, "again": EDIT}},
}


@pytest.fixture(autouse=True)
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_stages()


def study(rows: Document, name: str = "study") -> Path:
    Path(f"{name}.yaml").write_text(yaml.safe_dump({"study": {"seeds": [0], "rows": rows}}, sort_keys=False))
    assert main(["run", f"{name}.yaml", "--jobs=1"]) == 0
    return Path("runs") / name


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def planned(rows: Document, seeds: list[int]) -> Mapping[Cell, Config | StagesPlan]:
    Path("study.yaml").write_text(yaml.safe_dump({"study": {"seeds": seeds, "rows": rows}}, sort_keys=False))
    return plan_study(read_recipe([Path("study.yaml")], ()), Path("out")).configs


def test_a_shared_beginning_is_trained_once_and_changes_nothing() -> None:
    together = study(ROWS)
    origins = {str(p.parent.relative_to(together)): summary(p.parent).get("taken_from") for p in runs(together)}
    assert origins == {
        "edit/seed_0/edit": None,
        "edit_other/seed_0/edit": f"{together}/edit/seed_0/edit",
        "edit_other/seed_0/other": None,
        "edit_other_edit/seed_0/edit": f"{together}/edit/seed_0/edit",
        "edit_other_edit/seed_0/other": f"{together}/edit_other/seed_0/other",
        "edit_other_edit/seed_0/again": None,
    }
    alone = study({"edit_other_edit": ROWS["edit_other_edit"]}, "alone")
    for stage in ("edit", "other", "again"):
        shared, own = (root / "edit_other_edit/seed_0" / stage for root in (together, alone))
        assert weights(shared) == weights(own)
        assert read_metrics(shared) == read_metrics(own)
        assert "taken_from" not in summary(own)
    seconds = [summary(p.parent)["seconds"] for p in runs(together)]
    assert [s > 0 for s in seconds] == [summary(p.parent).get("taken_from") is None for p in runs(together)]


def runs(root: Path) -> list[Path]:
    return sorted(root.glob("*/seed_0/*/run.json"))


@pytest.fixture
def pair() -> tuple[Stage, Path]:
    """A stage that was not begun, and a finished twin."""
    plan = planned(ROWS, [0])["edit_other", 0]
    assert isinstance(plan, StagesPlan)
    stage, twin = plan.stages[1], Path("twin")
    for folder in (stage.folder, twin):
        folder.mkdir(parents=True)
        (folder / ".run.lock").touch()
        write_json(folder / "start.json", {"edit": {"linear.pt": "the same"}})
    write_json(twin / "run.json", {"status": "finished", "seconds": 5.0})
    (twin / "config.yaml").write_text("model: of the twin")
    (twin / "weights").mkdir()
    (twin / "weights/linear.pt").write_bytes(b"weights")
    (twin / "checkpoints").mkdir()
    (twin / "checkpoints/large").write_bytes(b"state")
    return stage, twin


def test_a_copy_has_the_results_and_its_own_settings(pair: tuple[Stage, Path]) -> None:
    stage, twin = pair
    assert taken(stage, [Path("missing"), twin]) == twin
    assert summary(stage.folder) == {"status": "finished", "seconds": 0.0, "taken_from": "twin"}
    assert (stage.folder / "weights/linear.pt").read_bytes() == b"weights"
    assert not (stage.folder / "checkpoints").exists()
    assert not takes_more_steps(stage.folder, stage.config)


def test_what_was_begun_is_not_replaced_and_no_unfinished_or_other_twin_is_taken(pair: tuple[Stage, Path]) -> None:
    stage, twin = pair
    (stage.folder / "config.yaml").write_text(stage.config.text)
    assert taken(stage, [twin]) is None
    (stage.folder / "config.yaml").unlink()
    (twin / "run.json").rename("finished")
    assert taken(stage, [twin]) is None
    Path("finished").rename(twin / "run.json")
    write_json(twin / "start.json", {"edit": {"linear.pt": "others"}})
    assert taken(stage, [twin]) is None
    assert {path.name for path in stage.folder.iterdir()} == {".run.lock", "start.json"}


def test_only_equal_settings_behind_equal_settings_are_twins() -> None:
    rows = ROWS | {
        "other_edit": {"stages": {"other": OTHER, "edit": EDIT}},
        "slower": {"overrides": {"model.init_args.lr": 0.07}, "stages": {"edit": EDIT}},
    }
    found = twins({cell: plan for cell, plan in planned(rows, [0, 1]).items() if isinstance(plan, StagesPlan)})
    assert found["slower", 0] == {}
    assert found["other_edit", 1] == {}
    assert found["edit", 1] == {"edit": (Path("out/edit_other/seed_1/edit"), Path("out/edit_other_edit/seed_1/edit"))}
    assert found["edit_other", 0]["other"] == (Path("out/edit_other_edit/seed_0/other"),)


def test_equal_settings_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[tuple[object, ...]] = []
    init = Config.__init__

    def counted(config: Config, *arguments: Any) -> None:
        parsed.append(arguments)
        init(config, *arguments)

    monkeypatch.setattr(Config, "__init__", counted)
    planned(ROWS, [0])
    assert len(parsed) == len(set(parsed)) == 4  # six stages, of which the first of each row are the same
