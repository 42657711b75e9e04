"""What a run of the micro-world leaves: scores, tables and pictures; and the report of all its stages."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from lightning.pytorch import LightningModule
from PIL import Image

from omnigen2.microworld.runs.scores import micro_scores
from omnigen2.microworld.world import draw
from omnigen2.training.callbacks.ema import EMA
from omnigen2.microworld.runs.judged import Judged, headline
from omnigen2.microworld.runs.evaluation import PICTURES, SCORES, MicroEvaluation, MicroJudge
from omnigen2.microworld.reports.curriculum import MicroCurriculum
from omnigen2.runner.reports.stages import StageResult, StagesResult
from tests.training.flow_parts import module, trainer, wake, world


def evaluated(folder: Path) -> dict[str, Any]:
    callback = MicroEvaluation(per_kind=1, shown=1)
    trainer(folder, 1, EMA(0.9), callback).fit(module(), datamodule=world(steps=1))
    return json.loads((folder / SCORES).read_text())


def test_a_run_leaves_scores_and_pictures(tmp_path: Path) -> None:
    scores = evaluated(tmp_path)
    assert scores["step"] == 1
    assert scores["per_kind"] == 1
    assert "geneval/overall/correct" in scores["model"]
    assert "omnicontext_exact/overall/exact" in scores["without references"]
    assert "geneval/overall/correct" not in scores["without references"]
    shares = {name: f"{name}/overall/{'correct' if name == 'geneval' else 'exact'}" for name in scores["exact"]}
    assert list(shares) == ["geneval", "edit_exact", "omnicontext_exact"]
    assert {name: fmean(done) for name, done in scores["exact"].items()} == {
        name: pytest.approx(scores["model"][number]) for name, number in shares.items()
    }
    assert "GenEval" in (tmp_path / "scores.md").read_text()
    with Image.open(tmp_path / PICTURES) as sheet:
        assert min(sheet.size) > 300


def test_an_evaluation_changes_nothing(tmp_path: Path) -> None:
    plain = module()
    trainer(tmp_path, 3).fit(plain, datamodule=world(steps=3))
    watched = module()
    callback = MicroEvaluation(per_kind=1, every_n_steps=2, shown=1)
    trainer(tmp_path, 3, callback).fit(watched, datamodule=world(steps=3))
    pairs = zip(plain.dit.parameters(), watched.dit.parameters(), strict=True)
    assert all(bool((one == other).all()) for one, other in pairs)
    assert watched.training


def test_perfect_pictures_pass_and_the_tasks_are_always_the_same() -> None:
    class Perfect(MicroEvaluation):
        """Draws what the tasks ask for."""

        def _draw(self, module: Any, data: Any, tasks: Any, with_references: bool) -> list[Judged]:
            pictures = [draw(getattr(task, "target", None) or task.scene, data.size) for task in tasks]
            self.seen = tasks
            self.scores = micro_scores(tasks, pictures, self.tolerance)
            return []

    first, second, other = Perfect(2), Perfect(2), Perfect(2, seed=1)
    data = world(64)
    for callback in (first, second, other):
        callback.results(module(), data)
    assert first.seen == second.seen != other.seen
    first.results(module(), world(64, families={"text_to_image": 1, "edit": 1}))
    assert headline(first.scores) == {"geneval": 1.0, "edit_exact": 1.0}


def test_the_judge_says_what_is_wrong() -> None:
    data = world(64)
    example = data.validation_batch().examples[0]
    assert example.target is not None
    assert MicroJudge().judge(example, example.target) == ("", True)
    words, passed = MicroJudge().judge(example, example.target * 0)
    assert not passed
    assert words


def test_the_report_of_stages_has_their_scores(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    evaluated(folder)
    summary = {"seconds": 60.0, "steps": 1, "final": {"eval/loss": 0.5}}
    stages = tuple(StageResult(name, None, folder, ({"step": 0, "eval/loss": 0.5},), summary) for name in ("a", "b"))
    MicroCurriculum().write(StagesResult("curriculum", tmp_path, stages, "lightning run x.yaml", {"torch": "2"}))
    text = (tmp_path / "report.md").read_text()
    for heading in ("Text-to-image, exact", "Edits, exact", "In-context tasks, exact, drawn without their references"):
        assert f"### {heading}" in text
    assert text.count("| b |") == 7
    assert (tmp_path / "pictures" / "b.png").is_file()
    assert (tmp_path / "scores.png").is_file()
    assert set(json.loads((tmp_path / "report.json").read_text())["scores"]) == {"a", "b"}


def test_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="per_kind >= 1.*got 0, 0, 4 and 0"):
        MicroEvaluation(0)

    class Other(LightningModule):
        """Draws nothing."""

    data = world()
    runner = trainer(tmp_path, 1)
    runner.fit(wake(module()), datamodule=data)
    with pytest.raises(TypeError, match="needs a FlowModel and MicroWorld data, got Other and MicroWorld"):
        MicroEvaluation().on_train_end(runner, Other())
