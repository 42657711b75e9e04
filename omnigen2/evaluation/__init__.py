"""The paper's benchmarks as metrics: exact over processes, with failures counted and shown.

metric = OmniContext()
metric.update(["single_object"], prompt_following, subject_consistency, valid)
print(metric)  # OmniContext: … (valid 48 / 50, …). 2 of 50 judgements failed; …

`omnigen2 evaluate` does the same for a folder of pictures.
"""

from omnigen2.evaluation.edit import EditBench, ImgEditBench
from omnigen2.evaluation.feature_judge import EmuEdit
from omnigen2.evaluation.geneval import GenEval
from omnigen2.evaluation.grouped import GroupedMean, Share
from omnigen2.evaluation.micro import MicroScores, micro_judge, micro_scores
from omnigen2.evaluation.omnicontext import OmniContext
from omnigen2.evaluation.similarity import FeatureSimilarity
from omnigen2.evaluation.summary import Line, Summary
from omnigen2.evaluation.understanding import ChoiceAccuracy

__all__ = [
    "ChoiceAccuracy",
    "EditBench",
    "EmuEdit",
    "FeatureSimilarity",
    "GenEval",
    "GroupedMean",
    "ImgEditBench",
    "Line",
    "MicroScores",
    "OmniContext",
    "Share",
    "Summary",
    "micro_judge",
    "micro_scores",
]
