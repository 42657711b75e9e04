"""A report told that captions had become better, and not that edits had become worse and every background textured."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.microworld.reports import Ablation, MicroCurriculum
from omnigen2.microworld.runs import MicroEvaluation, MicroPrompts, changes, families_table
from omnigen2.microworld.runs.scores import aggregate
from omnigen2.microworld.world import background_texture, draw, full_vocabulary, sample_scene
from omnigen2.runner.keep import ReportSection, write_report
from omnigen2.runner.plan import Row, RunResult
from tests.microworld.worlds import generator, seeds
from tests.runner.results import finished
from tests.training.flow_parts import module

NUMBERS = {
    "captions": "geneval/overall/correct",
    "edits": "edit_exact/overall/exact",
    "in-context": "omnicontext_exact/overall/exact",
    "letters": "letters/overall/exact",
    "texture": "texture/overall/texture",
}
SUMMARY = {"seconds": 60.0, "steps": 1, "final": {}}
BEFORE = dict(zip(NUMBERS, (0.691, 0.925, 0.667, 0.0, 0.004), strict=True))
AFTER = dict(zip(NUMBERS, (0.760, 0.679, 0.688, 0.0, 0.051), strict=True))
"""Of captions, edits, in-context tasks, letters and the texture, where captions alone were trained."""


def scores(values: dict[str, float], **facts: Any) -> dict[str, Any]:
    return {**facts, "exact": {"edit_exact": [1, 1]}, "model": {NUMBERS[name]: value for name, value in values.items()}}


def left_behind(folder: Path, trained: list[str]) -> Path:
    """What an evaluated run leaves in its folder."""
    folder.mkdir(parents=True)
    (folder / "scores_before.json").write_text(json.dumps(scores(BEFORE, trained=[])))
    exact = {"geneval": [1, 0], "edit_exact": [1, 0], "omnicontext_exact": [1, 0]}
    (folder / "scores.json").write_text(json.dumps({**scores(AFTER, trained=trained), "exact": exact}))
    (folder / "metrics.csv").write_text("step,epoch,reward/mean\n1,0,0.5\n2,0,0.6\n")
    return folder


def row_of(text: str, head: str, first: str) -> list[str]:
    """The cells of a row, below the table's head, that begins with a word."""
    lines = text[text.index(head) :].splitlines()
    (found,) = [line for line in lines if line.startswith(f"| {first} |")][:1]
    return [cell.strip() for cell in found.strip("|").split("|")]


def tells_all(cells: list[str]) -> None:
    for name in ("edits", "texture"):
        (told,) = [cell for cell in cells if cell.startswith(f"{BEFORE[name]:.3f} → {AFTER[name]:.3f}")]
        assert "▼" in told
        assert "not trained" in told
    (captions,) = [cell for cell in cells if cell.startswith("0.691 → 0.760")]
    assert "▼" not in captions


def test_a_run_tells_every_family_before_its_metrics(tmp_path: Path) -> None:
    folder = left_behind(tmp_path / "rl_geneval", ["text_to_image"])
    callback = MicroEvaluation()
    assert isinstance(callback, ReportSection)
    summary: dict[str, Any] = {
        "final": {"score/geneval": 0.76}, "steps": 160, "seconds": 1.0, "parameters": 1, "trainable": 1, "seed": 2,
        "versions": {}, "command": "lightning run recipes/micro/rl_geneval.yaml --seed_everything=2",
    }  # fmt: skip
    write_report(folder, summary, [callback.report_section(folder)])
    text = (folder / "report.md").read_text()
    assert text.index("| family |") < text.index("| metric |")  # the first table is what the command prints
    rows = {name: row_of(text, "| family |", name) for name in NUMBERS}
    assert rows["edits"] == ["edits", "no", "0.925", "0.679", "-0.246 ± 0.500", "▼ fell, not trained"]
    assert rows["captions"][:5] == ["captions", "yes", "0.691", "0.760", "+0.069"]
    assert rows["captions"][5] == rows["in-context"][5] == rows["letters"][5] == ""
    assert rows["texture"][4:] == ["+0.047", "▼ rose, not trained"]


def test_stages_tell_every_family(tmp_path: Path) -> None:
    folder = left_behind(tmp_path / "geneval", ["text_to_image"])
    stage = RunResult("geneval", None, folder, (), SUMMARY)
    MicroCurriculum().write(*finished(tmp_path, {("rl", None): [stage]}))
    cells = row_of((tmp_path / "report.md").read_text(), "## Before and after", "geneval")
    assert cells[1] == "captions"
    tells_all(cells)


def test_a_stage_that_measured_nothing_before_is_compared_with_the_one_it_started_from(tmp_path: Path) -> None:
    first, second = (left_behind(tmp_path / name, ["text_to_image"]) for name in ("a", "b"))
    (second / "scores_before.json").unlink()
    (first / "scores.json").write_text(json.dumps(scores(BEFORE, trained=["edit"])))
    stages = (RunResult("a", None, first, (), SUMMARY), RunResult("b", "a", second, (), SUMMARY))
    MicroCurriculum().write(*finished(tmp_path, {("rl", None): stages}))
    tells_all(row_of((tmp_path / "report.md").read_text(), "## Before and after", "b"))


def test_the_ablation_tells_every_family_of_every_row(tmp_path: Path) -> None:
    cells = {
        (name, seed): [RunResult(name, None, left_behind(tmp_path / name / f"seed_{seed}", trained), (), SUMMARY)]
        for name, trained in (("base", []), ("geneval", ["text_to_image"]))
        for seed in (0, 1)
    }
    for seed in (0, 1):
        base = cells["base", seed][0].folder
        (base / "scores.json").write_text((base / "scores_before.json").read_text())
    rows = (Row("base", "base", {}), Row("geneval", "GenEval", {}))
    Ablation().write(*finished(tmp_path, cells, rows, "rl"))
    text = (tmp_path / "report.md").read_text()
    told = row_of(text, "## Before and after", "GenEval")
    assert told[1] == "captions"
    tells_all(told)
    assert "texture" in text[: text.index("## Before and after")]
    assert json.loads((tmp_path / "report.json").read_text())["rows"]["geneval"]["trained"] == ["text_to_image"]


@given(
    before=st.dictionaries(st.sampled_from(list(NUMBERS)), st.floats(0, 1)),
    after=st.dictionaries(st.sampled_from(list(NUMBERS)), st.floats(0, 1)),
)
def test_every_family_has_a_line_measured_or_not_and_what_became_worse_a_mark(
    before: dict[str, float], after: dict[str, float]
) -> None:
    found = {one.score.title: one for one in changes(scores(before), scores(after))}
    assert list(found) == list(NUMBERS)
    for name, one in found.items():
        both = name in before and name in after
        worse = both and ((after[name] > before[name]) if name == "texture" else (after[name] < before[name]))
        assert bool(one.mark) == worse
        assert one.trained is None  # nobody wrote it down
    table = families_table(list(found.values()))
    assert all(f"| {name} |" in table for name in NUMBERS)


def test_prompts_are_evaluated_with_letters_and_say_what_was_trained() -> None:
    data = MicroPrompts(16, 1, {"letters": 1.0}, multiple=4)
    model: Any = module()
    model.draw = lambda examples, first=0: [example.target for example in examples]  # what a perfect model draws
    judged = MicroEvaluation(per_kind=2).results(model, data)["model"]
    assert [one.task.group for one in judged[-2:]] == ["letters", "letters"]
    assert {name: value for name, value in aggregate(judged).headline().items() if name in ("letters", "texture")} == {
        "letters": 1, "texture": pytest.approx(0, abs=1e-6)
    }  # fmt: skip
    model.draw = lambda examples, first=0: [0.05 + 0 * example.target for example in examples]
    worse = aggregate(MicroEvaluation(per_kind=2).results(model, data)["model"]).headline()
    assert worse["letters"] == 0
    assert worse["texture"] > 0.01
    assert data.trained == ("letters",)


@pytest.mark.usefixtures("unchecked")
def test_a_family_that_is_not_there_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(ValueError, match=r"MicroPrompts asks for is 'texts', expected one of .*'letters'"):
        MicroPrompts(16, 1, {"texts": 1.0})  # pyright: ignore[reportArgumentType]


@given(seed=seeds, level=st.floats(0.01, 0.2), size=st.sampled_from([32, 64]))
def test_the_texture_of_a_background_is_its_mean_distance_from_flat(seed: int, level: float, size: Any) -> None:
    """Whatever stands in front of it, and zero for the world's own drawings."""
    rng = generator(seed)
    scene = sample_scene(full_vocabulary(size), rng)
    clean = draw(scene, size)
    if scene.background.pattern != "plain":
        assert background_texture(clean, scene.background) is None
        return
    assert background_texture(clean, scene.background) == pytest.approx(0, abs=1e-6)
    checks = torch.from_numpy((-1.0) ** (torch.arange(size)[:, None] + torch.arange(size)).numpy()).float()
    found = background_texture(clean + level * checks, scene.background)
    assert found == pytest.approx(level, rel=0.02)
