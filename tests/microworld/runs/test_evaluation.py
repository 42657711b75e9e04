"""What a run of the micro-world leaves: scores, tables and pictures."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from lightning.pytorch import LightningModule
from PIL import Image

from omnigen2.microworld.runs import PICTURES, SCORES, MicroEvaluation, MicroJudge, MicroWorld
from omnigen2.microworld.runs.scores import Judged, aggregate
from omnigen2.training.callbacks import EMA
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
    def results(model: Any, data: MicroWorld, seed: int = 0) -> list[Judged]:
        return MicroEvaluation(2, seed=seed).results(model, data)["model"]

    data, model = world(64), module()
    model.draw = lambda examples, first=0: [example.target for example in examples]
    found = results(model, data)
    assert all(one.exact for one in found)
    assert aggregate(found).headline() == {
        "geneval": 1.0, "edit_exact": 1.0, "omnicontext_exact": 1.0, "texture": pytest.approx(0, abs=1e-6)
    }  # fmt: skip
    tasks = [one.task for one in found]
    assert tasks == [one.task for one in results(model, data)] != [one.task for one in results(model, data, seed=1)]
    model.draw = lambda examples, first=0: [example.target * 0 for example in examples]
    assert not any(one.exact for one in results(model, data))


def test_the_judge_says_what_is_wrong() -> None:
    data = world(64)
    example = data.validation_batch().examples[0]
    assert example.target is not None
    right, wrong = (MicroJudge().judge(example, picture) for picture in (example.target, example.target * 0))
    assert (right.value, right.reason) == (1, "")
    assert wrong.value < 1
    assert wrong.reason


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
