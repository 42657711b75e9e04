"""The recipes of distillation: full size on the meta device, and in miniature."""

from pathlib import Path

import pytest
import torch

from omnigen2.dit.variants import OMNIGEN2_4B
from omnigen2.generate import sampling_config
from omnigen2.microworld.trained import MICRO_MODEL
from omnigen2.runner.keep import attach
from omnigen2.training.distillation import DistillationModule
from tests.paths import RECIPES
from tests.recipes.cases import build

NAMES = ("distill_guidance", "distill_steps", "distill_flow_map")
STEPS = {"distill_guidance": 28, "distill_steps": 4, "distill_flow_map": 4}


@pytest.mark.parametrize("name", NAMES)
def test_a_student_of_full_size_builds_beside_its_teacher(name: str, released: Path) -> None:
    trainer, model, data = build(RECIPES / "paper" / f"{name}.yaml", f"--vars.model={released}")
    assert isinstance(model, DistillationModule)
    attach(trainer, model, data)
    with torch.device("meta"):
        model.configure_model()
    (frozen,) = model._frozen
    assert model.dit.config == frozen.config == OMNIGEN2_4B
    assert not any(value.requires_grad for value in frozen.parameters())
    assert not frozen.checkpointing
    assert (model.teacher.sampling.text_scale, model.teacher.sampling.image_scale) == (4.0, 2.0)
    assert model.drawing.sampling == model.student
    assert (model.student.steps, model.student.text_scale) == (STEPS[name], 1.0)
    assert data.dropout is None
    assert (model.flops_per_step() or 0) > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_student_in_miniature_starts_from_the_shipped_model(name: str) -> None:
    _, model, _ = build(RECIPES / "micro" / f"{name}.yaml")
    assert isinstance(model, DistillationModule)
    assert Path(model.weights or "").parts == MICRO_MODEL.parts[-3:]
    assert model.saved == "model"
    said = sampling_config(model.student)
    assert said["text_scale"] == 1.0
    assert said.get("steps", 28) == STEPS[name]
