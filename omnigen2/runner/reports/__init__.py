"""The reports that are written when a recipe names none."""

from omnigen2.runner.reports.stages import StageTable
from omnigen2.runner.reports.study import MetricTable

__all__ = ["MetricTable", "StageTable"]
