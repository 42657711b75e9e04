"""Rewards for real pictures: judges behind a chat server, and detectors; `remote` has rewards on other machines."""

from omnigen2.rl.rewards.edit_score import EditScoreReward
from omnigen2.rl.rewards.geneval import GenEvalReward
from omnigen2.rl.rewards.geneval_models import ClipColourNamer, Mask2FormerDetector
from omnigen2.rl.rewards.grades import without_thoughts
from omnigen2.rl.rewards.in_context import InContextReward
from omnigen2.rl.rewards.judge import Judge, TrialError
from omnigen2.rl.rewards.judge_reward import JudgeReward
from omnigen2.rl.rewards.text_to_image import TextToImageReward

__all__ = [
    "ClipColourNamer", "EditScoreReward", "GenEvalReward", "InContextReward", "Judge", "JudgeReward",
    "Mask2FormerDetector", "TextToImageReward", "TrialError", "without_thoughts",
]  # fmt: skip
