"""The paper's benchmarks as metrics: exact over processes, with failures counted and shown.

metric = OmniContext()
metric.update(["single_object"], prompt_following, subject_consistency, valid)
print(metric)  # OmniContext: … (valid 48 / 50, …). 2 of 50 judgements failed; …

`omnigen2 evaluate` does the same for a folder of pictures.
"""

from omnigen2.evaluation.benchmarks import (
    Benchmark,
    ChoiceBenchmark,
    EditBenchmark,
    EmuEditBenchmark,
    GenEvalBenchmark,
    ImgEditBenchmark,
    OmniContextBenchmark,
    Reader,
)
from omnigen2.evaluation.compare import compare
from omnigen2.evaluation.drawn import chosen, drawn, titled
from omnigen2.evaluation.metrics import (
    EditBench,
    EvaluationError,
    GenEval,
    GroupedMean,
    ImgEditBench,
    OmniContext,
    Share,
)
from omnigen2.evaluation.questions import Answerer, ask, letter_protocol, marked
from omnigen2.evaluation.report import summaries, write_report
from omnigen2.evaluation.runner import EvaluationProgress, evaluate

__all__ = [
    "Answerer", "Benchmark", "ChoiceBenchmark", "EditBench", "EditBenchmark", "EmuEditBenchmark", "EvaluationError",
    "EvaluationProgress", "GenEval", "GenEvalBenchmark", "GroupedMean", "ImgEditBench", "ImgEditBenchmark",
    "OmniContext", "OmniContextBenchmark", "Reader", "Share", "ask", "chosen", "compare", "drawn", "evaluate",
    "letter_protocol", "marked", "summaries", "titled", "write_report",
]  # fmt: skip
