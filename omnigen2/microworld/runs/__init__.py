"""TODO."""

from omnigen2.microworld.runs.data import MicroTexts, MicroWorld
from omnigen2.microworld.runs.evaluation import MicroEvaluation, MicroJudge, PICTURES, SCORES
from omnigen2.microworld.runs.folder import RulesJudge, micro_items, write_micro
from omnigen2.microworld.runs.micro_model import ShippedMicroVLM
from omnigen2.microworld.runs.prompts import MicroPrompts
from omnigen2.microworld.runs.samples import MicroExchanges
from omnigen2.microworld.runs.scores import micro_edit_bench
from omnigen2.microworld.runs.vlm import RandomMicroVLM

__all__ = [
    "PICTURES", "SCORES", "MicroEvaluation", "MicroExchanges", "MicroJudge", "MicroPrompts", "MicroTexts", "MicroWorld",
    "RandomMicroVLM", "RulesJudge", "ShippedMicroVLM", "micro_edit_bench", "micro_items", "write_micro",
]  # fmt: skip
