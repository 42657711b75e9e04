"""TODO."""

from omnigen2.evaluation.metrics.edit import IMGEDIT_SUBTASKS, EditBench, ImgEditBench
from omnigen2.evaluation.metrics.errors import EvaluationError
from omnigen2.evaluation.metrics.geneval import TAGS, GenEval
from omnigen2.evaluation.metrics.grouped import GroupedMean, Scores, Share, Valid
from omnigen2.evaluation.metrics.omnicontext import SUBTASKS, OmniContext
from omnigen2.evaluation.metrics.paper import EMU_EDIT, GEDIT, GENEVAL, IMGEDIT, MMBENCH, MMMU, OMNICONTEXT, PaperTable
from omnigen2.evaluation.metrics.similarity import Clip, DinoImages, FeatureSimilarity, cosines
from omnigen2.evaluation.metrics.summary import Line, Summary, markdown_table, number

__all__ = [
    "EMU_EDIT", "GEDIT", "GENEVAL", "IMGEDIT", "IMGEDIT_SUBTASKS", "MMBENCH", "MMMU", "OMNICONTEXT", "SUBTASKS", "TAGS",
    "Clip", "DinoImages", "EditBench", "EvaluationError", "FeatureSimilarity", "GenEval", "GroupedMean", "ImgEditBench",
    "Line", "OmniContext", "PaperTable", "Scores", "Share", "Summary", "Valid", "cosines", "markdown_table", "number",
]  # fmt: skip
