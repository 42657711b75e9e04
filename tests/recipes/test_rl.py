"""The recipes of reinforcement learning: each builds, with the numbers of the paper and of the official code."""

from pathlib import Path

import pytest
import torch

from omnigen2.adapters import is_adapter
from omnigen2.flow import SquareRootShift
from omnigen2.microworld.runs import MicroPrompts
from omnigen2.rl import NoiseScaled
from omnigen2.rl.rewards import JudgeReward
from omnigen2.training.alignment import FlowGRPOModule, JsonlPrompts
from omnigen2.training.parts import AdamWRecipe
from tests.paths import RECIPES
from tests.recipes.cases import build
from tests.runner.recipes import planned

MICRO_RECIPES = ["rl_edit", "rl_geneval", "rl_incontext", "rl_ocr", "rl_preference"]
STEPS = {"rl_1_edit": 700, "rl_2_geneval": 1500, "rl_3_incontext": 200}
ROWS = [
    "base", "edit", "geneval", "ocr", "incontext", "edit_geneval", "edit_ocr", "edit_preference",
    "edit_incontext_geneval", "geneval_edit_incontext", "edit_geneval_incontext",
]  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_a_paper_recipe_builds_with_the_official_numbers(name: str, released: Path) -> None:
    trainer, model, data = build(RECIPES / f"paper/{name}.yaml", f"--model.init_args.weights={released}")
    assert isinstance(model, FlowGRPOModule)
    assert isinstance(data, JsonlPrompts)
    with torch.device("meta"):
        model.configure_model()
    trained = [name for name, value in model.dit.named_parameters() if value.requires_grad]
    assert all(map(is_adapter, trained))
    assert model.part.lora is not None
    assert (model.part.lora.rank, model.part.lora.alpha) == (32, 64)
    assert trainer.max_steps == STEPS[name]
    rollout, update = model.rollout, model.update
    assert (rollout.groups, rollout.members, update.updates) == (48, 12, 2)
    assert model.shift == rollout.shift == SquareRootShift(side=168 / 16)  # the official base resolution
    sampling = rollout.sampling
    assert (sampling.steps, sampling.text_scale, sampling.image_scale) == (20, 4, 2)
    assert sampling.guidance_interval == (0, 0.6)
    objective = update.objective
    assert (objective.clip_low, objective.clip_high, objective.kl_weight) == (1e-4, 5e-4, 0.04)
    assert len(rollout.selection(20, 0).trained) == 12
    assert isinstance(update.step_weights, NoiseScaled)
    optimizer = model.optimizer_recipe
    assert isinstance(optimizer, AdamWRecipe)
    assert (optimizer.lr, optimizer.betas, optimizer.weight_decay) == (4e-4, (0.9, 0.95), 0.01)
    assert (update.max_norm, update.scale) == (1.0, "group")
    for reward in model.scorer.part.trained.values():
        assert reward.remote
        if isinstance(reward, JudgeReward):  # passes at temperature 0 would all give the same answer
            assert reward.passes == 1 or reward.judge.client.settings.temperature > 0
    assert model.saved == "merged"


def test_the_papers_stages_start_from_each_other() -> None:
    plan = planned(files=[str(RECIPES / "paper/rl_curriculum.yaml")])
    assert [run.name for run in plan.runs] == list(STEPS)
    assert [run.start and run.start.name for run in plan.runs] == [None, "rl_1_edit", "rl_2_geneval"]


@pytest.mark.parametrize("name", MICRO_RECIPES)
def test_a_micro_recipe_builds(name: str) -> None:
    trainer, model, data = build(RECIPES / f"micro/{name}.yaml")
    assert isinstance(model, FlowGRPOModule)
    assert isinstance(data, MicroPrompts)
    assert trainer.max_steps % model.update.updates == 0
    example = data.prompt(3)
    assert example.task in model.scorer.part.trained


def test_the_ablation_has_the_rows_of_the_paper() -> None:
    plan = planned(files=[str(RECIPES / "micro/rl_ablation.yaml")])
    assert [row.name for row in plan.rows] == ROWS
    assert len(plan.seeds) >= 2
    assert list(plan.cells["geneval_edit_incontext", 0]) == [
        "geneval",
        "edit",
        "incontext",
    ]
    for study in ("rl_ablation", "rl_ablation_quick"):  # rows differ by their rewards and tasks alone
        cells = planned(files=[str(RECIPES / f"micro/{study}.yaml")]).cells.values()
        runs = [run for cell in cells for name, run in cell.items() if name != "base"]  # which trains nothing
        parts = [run.config.values["model"]["init_args"]["alignment"] for run in runs]
        assert all(part["rollout"] == parts[0]["rollout"] and part["update"] == parts[0]["update"] for part in parts)
        assert not any(part["rewards"]["own_process"] for part in parts)
        assert parts[0]["rollout"]["selection"]["class_path"] == "omnigen2.rl.RandomSteps"
    quick = planned(files=[str(RECIPES / "micro/rl_ablation_quick.yaml")])
    assert [row.name for row in quick.rows] == ["base", "edit", "geneval", "edit_geneval"]
    config = quick.cells["geneval", 0]["geneval"].config.values
    assert config["trainer"]["max_steps"] == 24
    assert config["model"]["init_args"]["weights"] == "omnigen2/microworld/model"
