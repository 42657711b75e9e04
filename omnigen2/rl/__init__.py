"""Alignment with rewards. Needs torch and jaxtyping alone; what asks other machines is in `omnigen2.rl.rewards`."""

from omnigen2.rl.combine import Clipped, MeanOfPasses, WeightedSum
from omnigen2.rl.reward import Failure, Judgement, Reward, RewardError, RewardRequest, Scores, check_scores

__all__ = [
    "Clipped",
    "Failure",
    "Judgement",
    "MeanOfPasses",
    "Reward",
    "RewardError",
    "RewardRequest",
    "Scores",
    "WeightedSum",
    "check_scores",
]
