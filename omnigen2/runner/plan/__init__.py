"""From a recipe to checked runs: a configuration, stages that start from each other, or a study of rows and seeds."""

from omnigen2.runner.plan.config import Config, as_lines, changes, may_differ
from omnigen2.runner.plan.stage_planner import Stage
from omnigen2.runner.plan.stages import StagesPlan, plan_stages
from omnigen2.runner.plan.study import Plan, plan_study
from omnigen2.runner.plan.twins import START, taken, twins

__all__ = [
    "START", "Config", "Plan", "Stage", "StagesPlan", "as_lines", "changes", "may_differ", "plan_stages", "plan_study",
    "taken", "twins",
]  # fmt: skip
