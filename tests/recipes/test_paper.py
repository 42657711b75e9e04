"""The recipes of the paper and for fine-tuning: each builds at full size, on the meta device, with official numbers."""

from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning.pytorch import Trainer

from omnigen2.adapters import is_adapter
from omnigen2.dit import forward_flops
from omnigen2.dit.variants import OMNIGEN2_4B
from omnigen2.errors import UserError
from omnigen2.flow import LogitNormalTimes, SquareRootShift
from omnigen2.runner.keep import attach
from omnigen2.training.flow_matching import FlowMatchingModule, ImageData
from tests.paths import RECIPES
from tests.recipes import cases
from tests.recipes.cases import config_of
from tests.runner.recipes import planned

PRE_TRAINING = [f"pretrain_{side}_{tasks}" for side in (256, 512, 1024) for tasks in ("t2i", "mixed")]
FLOW = [*(RECIPES / "paper" / f"{name}.yaml" for name in (*PRE_TRAINING, "sft")), RECIPES / "finetune/full.yaml"]
ALL = [*FLOW, RECIPES / "finetune/lora.yaml"]
PARAMETERS = 3_967_161_400
OFFICIAL_REFERENCES = (1024**2, 1024**2, 768**2, 512**2)


def build(file: Path, *options: str) -> tuple[Trainer, FlowMatchingModule, ImageData]:
    """Build with the transformer on the meta device."""
    trainer, model, data = cases.build(file, *options)
    assert isinstance(model, FlowMatchingModule)
    assert isinstance(data, ImageData)
    attach(trainer, model, data)
    with torch.device("meta"):
        model.configure_model()
    return trainer, model, data


def classes(value: Any) -> list[str]:
    """All class paths of a resolved recipe."""
    if isinstance(value, dict):
        own = [value["class_path"]] if "class_path" in value else []
        return own + [name for part in value.values() for name in classes(part)]
    return [name for part in value for name in classes(part)] if isinstance(value, list) else []


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.stem)
def test_a_recipe_builds_at_full_size_with_the_papers_numbers(file: Path, released: Path) -> None:
    options = [f"--vars.model={released}"] if file.parent.name == "finetune" else []
    config = config_of(file, *options)
    for name in classes(config.values):
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), name
    trainer, model, data = build(file, *options)
    assert model.dit.config == OMNIGEN2_4B
    base = sum(value.numel() for name, value in model.dit.named_parameters() if not is_adapter(name))
    assert base == PARAMETERS
    optimizer = cast(Any, model.configure_optimizers())["optimizer"]
    trained = {id(value) for value in model.parameters() if value.requires_grad}
    assert trained
    assert {id(value) for group in optimizer.param_groups for value in group["params"]} == trained
    assert {(group["weight_decay"], group["betas"]) for group in optimizer.param_groups} == {(0.01, (0.9, 0.95))}
    assert (trainer.gradient_clip_val, config.values["trainer"]["precision"]) == (1.0, "bf16-mixed")
    assert model.objective.sampler == LogitNormalTimes()
    assert model.objective.shift == SquareRootShift()
    assert (model.text_part.rules.max_tokens, model.text_part.rules.overflow) == (888, "cut")
    assert data.dropout is not None
    assert (data.dropout.prompt, data.dropout.references) == (1e-4, 0.5)
    assert data.budget.resize.multiple == 16
    assert data.steps == trainer.max_steps


@pytest.mark.parametrize("file", FLOW, ids=lambda file: file.stem)
def test_shards_are_asked_for_explicitly_and_fit_the_machines(file: Path) -> None:
    trainer = config_of(file).values["trainer"]
    sizes = trainer["strategy"]["init_args"]
    assert sizes["data_parallel_size"] == trainer["devices"] * (trainer["num_nodes"] or 1)
    assert sizes["tensor_parallel_size"] == 1


@pytest.mark.parametrize("name", [*PRE_TRAINING, "sft"])
def test_pictures_have_the_size_of_their_stage(name: str) -> None:
    values = config_of(RECIPES / "paper" / f"{name}.yaml").values["data"]["init_args"]
    side = 1024 if name == "sft" else int(name.split("_")[1])
    budget = values["budget"]
    assert budget["resize"]["max_pixels"] == side**2
    assert list(budget["resize"]["reference_pixels"]) == [limit * side**2 // 1024**2 for limit in OFFICIAL_REFERENCES]
    assert set(values["train"]) == (
        {"text_to_image"} if name.endswith("t2i") else {"text_to_image", "edit", "in_context"}
    )
    # the largest sample that the limits allow must fit: text, references and target
    largest = 888 + max((limit // 256) * n for n, limit in enumerate(OFFICIAL_REFERENCES, start=1)) + 4096
    assert budget["tokens"] >= largest


def test_the_numbers_of_steps_are_those_of_the_paper() -> None:
    stages = {name: config_of(RECIPES / "paper" / f"{name}.yaml").values["trainer"] for name in [*PRE_TRAINING, "sft"]}
    steps = {name: trainer["max_steps"] // 1000 for name, trainer in stages.items()}
    table_6 = {"256_t2i": 50, "256_mixed": 50, "512_t2i": 30, "512_mixed": 30, "1024_t2i": 50, "1024_mixed": 50}
    assert steps == {f"pretrain_{name}": thousands for name, thousands in table_6.items()} | {"sft": 100}


def test_fine_tuning_has_the_official_learning_rate() -> None:
    for file in (RECIPES / "paper/sft.yaml", RECIPES / "finetune/full.yaml"):
        model = config_of(file).values["model"]["init_args"]
        assert model["optimizer"]["init_args"]["lr"] == 8e-7
        assert model["schedule"]["class_path"].endswith("WarmupConstant")
        assert model["schedule"]["init_args"]["warmup_steps"] == 500


def test_the_work_of_a_step_is_known_without_data() -> None:
    _, model, data = build(RECIPES / "paper/pretrain_512_t2i.yaml")
    layout = data.planned_layout()
    assert 0.8 * data.budget.tokens < layout.tokens <= data.budget.tokens
    assert model.tokens_per_step() == layout.tokens
    assert model.flops_per_step() == 3 * forward_flops(OMNIGEN2_4B, layout)
    # about six operations for each parameter and token, and attention
    assert model.flops_per_step() == pytest.approx(6 * PARAMETERS * layout.tokens, rel=0.15)


def test_the_curriculum_runs_every_stage_from_the_one_before() -> None:
    plan = planned(files=[str(RECIPES / "paper/curriculum.yaml")])
    assert [run.name for run in plan.runs] == ["image_token", *PRE_TRAINING, "sft"]
    assert [run.start and run.start.name for run in plan.runs] == [None, None, *PRE_TRAINING]
    for stage in plan.runs[1:]:
        reader = stage.config.values["model"]["init_args"]["text"]["encoder"]["init_args"]["path"]
        assert reader == "runs/curriculum/image_token/weights"


def test_missing_weights_are_named() -> None:
    with pytest.raises(ValueError, match="weights OmniGen2 have no transformer/ .*no such folder"):
        build(RECIPES / "finetune/lora.yaml")


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="learning_rate"):
        config_of(RECIPES / "paper/sft.yaml", "--model.init_args.learning_rate=1")
