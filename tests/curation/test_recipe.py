"""Recipes are read as they stand, and what cannot be built is told in two lines."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from omnigen2.curation import read_recipe
from omnigen2.errors import UserError
from tests.curation.parts import Grade, content, recipe


def test_a_recipe_is_its_steps_in_their_order(tmp_path: Path) -> None:
    made = recipe(tmp_path, ["grade.least=0.5"], grade={"most": 0.6})
    assert list(made.steps) == ["lines", "grade", "say"]
    grade = made.steps["grade"]
    assert isinstance(grade, Grade)
    assert (grade.least, grade.most) == (0.5, 0.6)
    assert made.to_json()["limits"]["grade"]["grade.most"] == {"value": 0.6, "reason": "too high"}


def test_its_identity_is_what_decides_the_result(tmp_path: Path) -> None:
    same = [recipe(tmp_path), recipe(tmp_path, ["grade.least=0.25"]), recipe(tmp_path, say={"url": "there"})]
    assert len({made.identity for made in same}) == 1
    turned = content()
    turned["steps"] = dict(reversed(turned["steps"].items()))
    (tmp_path / "turned.yaml").write_text(yaml.safe_dump(turned, sort_keys=False))
    others = [recipe(tmp_path, ["grade.least=0.3"]), read_recipe(tmp_path / "turned.yaml")]
    assert len({made.identity for made in (*same, *others)}) == 3


def broken(**changes: Any) -> dict[str, Any]:
    return {**content(), **changes}


def with_step(name: str, entry: Any) -> dict[str, Any]:
    return broken(steps={**content()["steps"], name: entry})


GRADE = f"{Grade.__module__}.Grade"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"task": "edit"}, "has no steps"),
        (broken(tasks="edit"), "unknown key tasks"),
        (broken(task="edits"), "the task 'edits'"),
        (with_step("grade", {"class_path": GRADE, "init_args": {"laest": 1}}), "steps.grade .*'laest' is not accepted"),
        (with_step("grade", {"class_path": GRADE, "init_args": {"least": "high"}}), "steps.grade .*least.* high"),
        (with_step("more", {"class_path": GRADE}), "two steps with the limit grade.least"),
        (with_step("more", {"class_path": "tests.curation.parts.Share"}), "steps.more .*subclass of Step"),
        (with_step("more", {"class_path": "tests.curation.parts.Nothing"}), "steps.more .*no attribute 'Nothing'"),
        (with_step("more", 3), "steps.more cannot be built"),
        (broken(sections=[{"class_path": GRADE}]), "sections.0 .*subclass of Section"),
    ],
)
def test_what_cannot_be_built_is_told(tmp_path: Path, said: dict[str, Any], problem: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump(said, sort_keys=False))
    with pytest.raises(UserError, match=problem) as raised:
        read_recipe(path)
    assert str(raised.value).startswith(str(path))
    assert len(str(raised.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("grade", "changes nothing"),
        ("grad.least=1", "for one of lines, grade, say"),
        ("grade.least=[", "no YAML"),
        ("grade.resources.cpus=-1", "steps.grade"),
        ("grade.least.more=1", "least is 0.3, without settings of its own"),
    ],
)
def test_changes_are_for_what_is_there(tmp_path: Path, change: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        recipe(tmp_path, [change], grade={"least": 0.3})


def test_steps_share_what_stands_in_vars(tmp_path: Path) -> None:
    said = broken(vars={"low": 0.2, "deep": {"high": 0.7}})
    said["steps"]["grade"]["init_args"] = {"least": "${vars.low}", "most": "${vars.deep.high}"}
    path = tmp_path / "shared.yaml"
    path.write_text(yaml.safe_dump(said, sort_keys=False))
    grade = read_recipe(path, ["vars.low=0.4"]).steps["grade"]
    assert isinstance(grade, Grade)
    assert (grade.least, grade.most) == (0.4, 0.7)
    grade = read_recipe(path, ["vars.deep.high=0.6"]).steps["grade"]
    assert isinstance(grade, Grade)
    assert grade.most == 0.6
    with pytest.raises(UserError, match="one of lines, grade, say, vars.low, vars.deep"):
        read_recipe(path, ["vars.deeper.high=0.6"])
    said["steps"]["grade"]["init_args"]["least"] = "${vars.lwo}"
    path.write_text(yaml.safe_dump(said, sort_keys=False))
    with pytest.raises(UserError, match="vars.lwo"):
        read_recipe(path)
