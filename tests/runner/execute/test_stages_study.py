"""A study whose rows are stages."""

import json
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import yaml

from omnigen2.cli import main
from omnigen2.errors import UserError
from omnigen2.runner.keep.metrics import read_metrics
from omnigen2.runner.plan import Plan
from omnigen2.runner.recipe import Document
from tests.runner.recipes import planned
from tests.runner.stage_recipes import PLAIN, weights, write_stages

ROWS: Document = {
    "base": {},
    "one": {"stages": {"edit": None}},
    "two": {
        "title": "The two",
        "overrides": {"model.init_args.lr": 0.05},
        "stages": {"edit": {}, "geneval": {"recipe": "parts/plain.yaml", "overrides": {"trainer.max_steps": 2}}},
    },
}


@pytest.fixture(autouse=True)
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_stages()
    write()


def write(**study: Any) -> None:
    block = {"base": "parts/plain.yaml", "seeds": [0, 4], "rows": ROWS} | study
    Path("study.yaml").write_text(yaml.safe_dump({"study": block}, sort_keys=False))


def test_a_row_of_stages_has_a_folder_per_seed_and_stage() -> None:
    plan = planned("--data.init_args.first=7")
    two = plan.cells["two", 4].values()
    assert [str(run.folder) for run in two] == [
        "runs/study/two/seed_4/edit",
        "runs/study/two/seed_4/geneval",
    ]
    values = [run.config.values for run in two]
    assert [v["seed_everything"] for v in values] == [4, 4]
    assert [v["trainer"]["max_steps"] for v in values] == [4, 2]
    assert [v["model"]["init_args"]["lr"] for v in values] == [0.05, 0.05]
    assert [v["data"]["init_args"]["first"] for v in values] == [7, 7]
    assert values[1]["model"]["init_args"]["weights"] == "runs/study/two/seed_4/edit/weights"
    assert plan.cells["one", 0]["edit"] is plan.cells["base", 0]["base"], "equal runs are one"


def values_of(plan: Plan) -> list[Document]:
    return [run.config.values for cell in plan.cells.values() for run in cell.values()]


def test_the_resolved_study_is_a_recipe_for_the_same() -> None:
    first = planned("--study.seeds=[4]")
    Path("resolved.yaml").write_text(first.text)
    again = planned(files=["resolved.yaml"], folder=Path("runs/study"))
    assert values_of(again) == values_of(first)
    assert again.text == first.text


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"rows": {"a": {"stages": {"b": {"start": "c"}}}}}, r"row a: stage b: start: there is no earlier stage 'c'"),
        ({"rows": {"a": {"stages": {}}}}, r"row a: study.yaml: stages is empty"),
        ({"base": None}, r"row base: it has no stages, and the study has no base; write `base: FILE.yaml`"),
        ({"base": None, "rows": {"a": {"stages": {"b": {}}}}}, r"row a: stage b: it names no recipe"),
        ({"base": "stages.yaml"}, r"the base stages.yaml is a recipe with stages itself"),
    ],
)
def test_a_mistake_in_a_row_of_stages(study: Document, message: str) -> None:
    write(**study)
    with pytest.raises(UserError, match=message):
        planned()


def test_a_study_of_stages_runs_and_reports_their_last_stage(capsys: pytest.CaptureFixture[str]) -> None:
    write(rows={"base": {}, "two": ROWS["two"]}, base=PLAIN)
    assert main(["run", "study.yaml", "--jobs=1", "--study.seeds=[0]"]) == 0
    text = capsys.readouterr().out
    assert "3 of 3 runs to do" in text
    assert "| The two | " in text
    folder = Path("runs/study/two/seed_0")
    assert weights(folder / "edit") != weights(folder / "geneval")
    assert "| [geneval](geneval/report.md) | edit | 2 |" in (folder / "report.md").read_text()
    data = json.loads(Path("runs/study/report.json").read_text())
    assert data["rows"]["two"]["final"]["bias"] == [read_metrics(folder / "geneval")[-1]["bias"]]
    assert main(["run", "study.yaml", "--study.seeds=[0]"]) == 0
    assert "all 3 runs are finished" in capsys.readouterr().out
    (folder / "geneval/run.json").unlink()
    assert main(["run", "study.yaml", "--study.seeds=[0]", "--model.init_args.lr=0.3"]) == 2
    assert "base/seed_0 has changed since it was run" in capsys.readouterr().err
    write(rows={"base": {"stages": {"edit": {}}}, "two": ROWS["two"]}, base=PLAIN)
    assert main(["run", "study.yaml", "--study.seeds=[0]"]) == 2
    assert "runs/study/base/seed_0 holds a single run, and something else is to be run" in capsys.readouterr().err


def test_a_shared_stage_is_found_after_the_row_that_has_it_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    def row(rate: float, first: float = 0.1) -> Document:
        return {"stages": {"one": {"overrides": {"model.init_args.lr": first}}, "two": {"overrides": faster(rate)}}}

    def faster(rate: float) -> Document:
        return {"model.init_args.lr": rate, "trainer.max_steps": 1}

    command = ["run", "study.yaml", "--executor=here", "--study.seeds=[0]"]
    write(rows={"a": row(0.2), "b": row(0.3)})
    assert main(command) == 0
    write(rows={"b": row(0.3)})
    assert main(command) == 0
    assert "starts" not in capsys.readouterr().out.partition("runs/study/a/seed_0/one is finished")[2]
    write(rows={"b": row(0.3, first=0.15)})
    assert main(command) == 2
    assert "delete runs/study/b/seed_0/two to run it anew" in capsys.readouterr().err
    rmtree("runs/study/b/seed_0/two")
    before = weights(Path("runs/study/a/seed_0/one"))
    assert main(command) == 0  # the link of before leads to another run now
    assert not Path("runs/study/b/seed_0/one").is_symlink()
    assert weights(Path("runs/study/a/seed_0/one")) == before
