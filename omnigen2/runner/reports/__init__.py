"""What finished runs hand to a report, and the reports that are written when a recipe names none."""

from omnigen2.runner.reports.stages import StageResult, StagesReport, StagesResult, StageTable
from omnigen2.runner.reports.study import CellResult, MetricTable, Row, StudyReport, StudyResult

__all__ = [
    "CellResult", "MetricTable", "Row", "StageResult", "StageTable", "StagesReport", "StagesResult", "StudyReport",
    "StudyResult",
]  # fmt: skip
