"""What is judged, who judges (chat models, features, written verdicts, marked answers), and what is kept of it."""

from omnigen2.evaluation.judging.answers import read_answers
from omnigen2.evaluation.judging.chat_judge import ChatJudge
from omnigen2.evaluation.judging.feature_judge import EmuEdit, FeatureJudge
from omnigen2.evaluation.judging.judge import (
    BenchmarkItem,
    BenchmarkJudge,
    JudgeProtocol,
    PictureFile,
    contents,
    read_image,
)
from omnigen2.evaluation.judging.layouts import (
    INTERSECTION,
    emu_edit_items,
    gedit_items,
    geneval_items,
    imgedit_items,
    omnicontext_items,
    unique,
)
from omnigen2.evaluation.judging.question_files import read_mmbench, read_mmmu
from omnigen2.evaluation.judging.results import BenchmarkResult, Drawn, Journal, Record
from omnigen2.evaluation.judging.tables import Row
from omnigen2.evaluation.judging.understanding import Choice, ChoiceAccuracy, Mark, mark
from omnigen2.evaluation.judging.verdicts import DetectorResults, ImgEditAnswers

__all__ = [
    "INTERSECTION", "BenchmarkItem", "BenchmarkJudge", "BenchmarkResult", "ChatJudge", "Choice", "ChoiceAccuracy",
    "DetectorResults", "Drawn", "EmuEdit", "FeatureJudge", "ImgEditAnswers", "Journal", "JudgeProtocol", "Mark",
    "PictureFile", "Record", "Row", "contents", "emu_edit_items", "gedit_items", "geneval_items", "imgedit_items",
    "mark", "omnicontext_items", "read_answers", "read_image", "read_mmbench", "read_mmmu", "unique",
]  # fmt: skip
