"""TODO."""

from omnigen2.evaluation.judging.chat_judge import ChatJudge
from omnigen2.evaluation.judging.feature_judge import EmuEdit, FeatureJudge
from omnigen2.evaluation.judging.judge import Item, Judge, Judgement, JudgeProtocol, PictureFile, contents, read_image
from omnigen2.evaluation.judging.layouts import (
    emu_edit_items,
    gedit_items,
    geneval_items,
    imgedit_items,
    omnicontext_items,
    unique,
)
from omnigen2.evaluation.judging.question_files import read_answers, read_mmbench, read_mmmu
from omnigen2.evaluation.judging.results import Journal, Record, Result
from omnigen2.evaluation.judging.tables import file_name, json_object, text
from omnigen2.evaluation.judging.understanding import Choice, ChoiceAccuracy, mark
from omnigen2.evaluation.judging.verdicts import DetectorResults, ImgEditAnswers

__all__ = [
    "ChatJudge", "Choice", "ChoiceAccuracy", "DetectorResults", "EmuEdit", "FeatureJudge", "ImgEditAnswers", "Item",
    "Journal", "Judge", "JudgeProtocol", "Judgement", "PictureFile", "Record", "Result", "contents", "emu_edit_items",
    "file_name", "gedit_items", "geneval_items", "imgedit_items", "json_object", "mark", "omnicontext_items",
    "read_answers", "read_image", "read_mmbench", "read_mmmu", "text", "unique",
]  # fmt: skip
