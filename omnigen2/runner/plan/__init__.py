"""From a recipe to checked runs: a plan, which is a graph of runs and the report of them."""

from omnigen2.runner.plan.config import Config, TrainerArguments, as_lines, as_yaml, parse
from omnigen2.runner.plan.forms import plan
from omnigen2.runner.plan.graph import Cell, Plan, Rank, Report, Results, Row, Run, RunResult
from omnigen2.runner.plan.machines import Machines, Place, place

__all__ = [
    "Cell", "Config", "Machines", "Place", "Plan", "Rank", "Report", "Results", "Row", "Run", "RunResult",
    "TrainerArguments", "as_lines", "as_yaml", "parse", "place", "plan",
]  # fmt: skip
