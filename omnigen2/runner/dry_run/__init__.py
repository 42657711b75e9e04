"""TODO."""

from omnigen2.runner.dry_run.describe import describe
from omnigen2.runner.dry_run.estimates import ASSUMED, Speed
from omnigen2.runner.dry_run.planned import planned_batches

__all__ = ["ASSUMED", "Speed", "describe", "planned_batches"]
