"""The metrics of the benchmarks: means within groups, then over groups, exact over processes, failures counted."""

from omnigen2.evaluation.metrics.edit import IMGEDIT_SUBTASKS, EditBench, ImgEditBench
from omnigen2.evaluation.metrics.errors import EvaluationError
from omnigen2.evaluation.metrics.geneval import TAGS, GenEval
from omnigen2.evaluation.metrics.grouped import Column, GroupedMean, Share, Valid
from omnigen2.evaluation.metrics.omnicontext import SUBTASKS, OmniContext
from omnigen2.evaluation.metrics.paper import PAPERS, PaperTable
from omnigen2.evaluation.metrics.similarity import Clip, DinoImages, cosines
from omnigen2.evaluation.metrics.summary import Line, Summary

__all__ = [
    "IMGEDIT_SUBTASKS", "PAPERS", "SUBTASKS", "TAGS", "Clip", "Column", "DinoImages", "EditBench", "EvaluationError",
    "GenEval", "GroupedMean", "ImgEditBench", "Line", "OmniContext", "PaperTable", "Share", "Summary", "Valid",
    "cosines",
]  # fmt: skip
