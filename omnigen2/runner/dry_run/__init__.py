"""What a recipe would build and cost, said before anything is trained."""

from omnigen2.runner.dry_run.describe import describe
from omnigen2.runner.dry_run.estimates import ASSUMED, Speed
from omnigen2.runner.dry_run.planned import planned_batches
from omnigen2.runner.dry_run.plans import describe_plan

__all__ = ["ASSUMED", "Speed", "describe", "describe_plan", "planned_batches"]
