"""Equal runs are one run, wherever a plan has them; and what is read once is not read again."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from omnigen2.cli import main
from omnigen2.runner.keep import read_metrics
from omnigen2.runner.plan import Plan, planner
from omnigen2.runner.recipe import Document
from tests.runner.recipes import planned
from tests.runner.stage_recipes import PLAIN, weights, write_stages

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


def plan(rows: Document, seeds: list[int], name: str = "study", **study: Any) -> Plan:
    Path(f"{name}.yaml").write_text(yaml.safe_dump({"study": {"seeds": seeds, "rows": rows, **study}}, sort_keys=False))
    return planned(files=[f"{name}.yaml"])


def test_a_shared_beginning_is_trained_once_and_changes_nothing() -> None:
    together = plan(ROWS, [0])
    assert main(["run", "study.yaml", "--jobs=1"]) == 0
    assert [run.name for run in together.runs] == [
        "edit/seed_0/edit",
        "edit_other/seed_0/other",
        "edit_other_edit/seed_0/again",
    ]
    alone = plan({"edit_other_edit": ROWS["edit_other_edit"]}, [0], "alone")
    assert main(["run", "alone.yaml", "--executor=here"]) == 0
    for stage in ("edit", "other", "again"):
        shared, own = (root / "edit_other_edit/seed_0" / stage for root in (together.folder, alone.folder))
        assert shared.is_symlink() == (stage != "again")
        assert not own.is_symlink()
        assert weights(shared) == weights(own)
        assert read_metrics(shared) == read_metrics(own)
    seconds = [json.loads((run.folder / "run.json").read_text())["seconds"] for run in together.runs]
    assert json.loads((together.folder / "report.json").read_text())["seconds"] == pytest.approx(sum(seconds))
    part = (together.folder / "edit_other_edit/seed_0/report.md").read_text()
    assert "| [other](../../edit_other/seed_0/other/report.md) | edit | 2 |" in part
    assert "| [again](again/report.md) | other | 4 |" in part


def test_only_equal_settings_behind_equal_settings_are_one_run() -> None:
    rows = ROWS | {
        "other_edit": {"stages": {"other": OTHER, "edit": EDIT}},
        "slower": {"overrides": {"model.init_args.lr": 0.07}, "stages": {"edit": EDIT}},
        "renamed": {"stages": {"first": EDIT}},
    }
    cells = plan(rows, [0, 1]).cells
    assert cells["edit", 1]["edit"] is cells["edit_other", 1]["edit"] is cells["renamed", 1]["first"]
    assert cells["edit_other", 0]["other"] is cells["edit_other_edit", 0]["other"]
    others = [cells["edit", 0]["edit"], cells["edit", 1]["edit"], cells["slower", 0]["edit"]]
    assert len({*others, cells["other_edit", 0]["edit"], cells["other_edit", 0]["other"]}) == 5


def test_planning_twice_gives_the_same_plan() -> None:
    first, again = (plan(ROWS, [0, 1]) for _ in range(2))
    assert first.text == again.text
    assert [(run.name, run.folder, run.config.values) for run in first.runs] == [
        (run.name, run.folder, run.config.values) for run in again.runs
    ]
    assert all(need in first.runs[:place] for place, run in enumerate(first.runs) for need in run.needs.values())


def test_what_was_run_stays_where_it_is_when_rows_change_their_order() -> None:
    plan(ROWS, [0])
    assert main(["run", "study.yaml", "--jobs=1"]) == 0
    before = {run.folder: (run.folder / "run.json").stat().st_mtime_ns for run in planned().runs}
    turned = plan(dict(reversed(ROWS.items())), [0])
    assert {run.folder for run in turned.runs} == set(before)
    assert main(["run", "study.yaml", "--jobs=1"]) == 0
    assert {folder: (folder / "run.json").stat().st_mtime_ns for folder in before} == before


def test_equal_settings_are_read_once_whatever_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    parse = planner.parse
    monkeypatch.setattr(planner, "parse", lambda *arguments: read.append(arguments) or parse(*arguments))
    found = plan(ROWS, [0, 1, 2])
    assert len(found.runs) == 9
    assert len(read) == 2  # a start is no setting of its own


def test_a_seed_that_settings_refer_to_is_read_with_them() -> None:
    base = PLAIN | {"data": {"class_path": PLAIN["data"]["class_path"], "init_args": {"first": "${seed_everything}"}}}
    cells = plan({"a": {}}, [3, 8], base=base).cells
    firsts = {
        seed: run.config.values["data"]["init_args"]["first"] for (_, seed), c in cells.items() for run in c.values()
    }
    assert firsts == {3: 3, 8: 8}


def test_options_change_a_sweep() -> None:
    random = {"count": 2, "seed": 0, "values": {"model.init_args.lr": {"log_uniform": [1e-4, 1e-2]}}}
    two = plan({}, [0], base="parts/plain.yaml", random=random)
    three = planned("--study.random.count=3")
    assert [row.name for row in three.rows][:2] == [row.name for row in two.rows]
    assert len(three.rows) == 3
    Path("again.yaml").write_text(three.text)
    assert planned(files=["again.yaml"]).text == three.text, "what was drawn is written"


def test_a_short_name_may_be_a_default_of_the_class() -> None:
    found = plan({}, [0], base="parts/plain.yaml", grid={"lr": [0.5]})
    (cell,) = found.cells.values()
    assert [run.config.values["model"]["init_args"]["lr"] for run in cell.values()] == [0.5]
    assert [row.name for row in found.rows] == ["lr-0.5"]


@pytest.mark.parametrize("nested", [False, True])
def test_a_seed_is_read_wherever_something_may_refer_to_it(nested: bool) -> None:
    data = {"class_path": PLAIN["data"]["class_path"], "init_args": {"first": "${...seed_everything}"}}
    Path("parts/steps.yaml").write_text(yaml.safe_dump(data))
    Path("parts/base.yaml").write_text(yaml.safe_dump(PLAIN | {"data": "steps.yaml" if nested else data}))
    cells = plan({"a": {}}, [3, 8], base="parts/base.yaml").cells
    assert [run.config.values["data"]["init_args"]["first"] for c in cells.values() for run in c.values()] == [3, 8]
