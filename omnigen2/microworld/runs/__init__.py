"""The micro-world in recipes: data, prompts and exchanges, a small vision-language model, and evaluation by rules."""

from omnigen2.microworld.runs.data import MicroTexts, MicroWorld
from omnigen2.microworld.runs.evaluation import PICTURES, SCORES, SCORES_BEFORE, MicroEvaluation, MicroJudge
from omnigen2.microworld.runs.families import FAMILY_SCORES, FELL, LEGEND, Change, FamilyScore, changes, families_table
from omnigen2.microworld.runs.folder import RulesJudge, micro_items, write_micro
from omnigen2.microworld.runs.new_references import NewReferences
from omnigen2.microworld.runs.prompts import MicroPrompts
from omnigen2.microworld.runs.samples import MicroExchanges
from omnigen2.microworld.runs.scores import EXACT, TEXTURE, aggregate, judge_all, micro_edit_bench
from omnigen2.microworld.runs.vlm import RandomMicroVLM, ShippedMicroVLM

__all__ = [
    "EXACT", "FAMILY_SCORES", "FELL", "LEGEND", "PICTURES", "SCORES", "SCORES_BEFORE", "TEXTURE", "Change",
    "FamilyScore", "MicroEvaluation", "MicroExchanges", "MicroJudge", "MicroPrompts", "MicroTexts", "MicroWorld",
    "NewReferences", "RandomMicroVLM", "RulesJudge", "ShippedMicroVLM", "aggregate", "changes", "families_table",
    "judge_all", "micro_edit_bench", "micro_items", "write_micro",
]  # fmt: skip
