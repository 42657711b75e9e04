"""Few steps of one branch in place of many guided ones: students that learn from a frozen teacher."""

from omnigen2.training.distillation.module import Aim, DistillationModule, Evaluations, Lesson
from omnigen2.training.distillation.students import FlowMapDistillation, GuidanceDistillation, Starts, StepDistillation
from omnigen2.training.distillation.targets import flow_map_velocity, followed_velocity
from omnigen2.training.distillation.teacher import Teacher

__all__ = [
    "Aim", "DistillationModule", "Evaluations", "FlowMapDistillation", "GuidanceDistillation", "Lesson", "Starts",
    "StepDistillation", "Teacher", "flow_map_velocity", "followed_velocity",
]  # fmt: skip
