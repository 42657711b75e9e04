"""Alignment with rewards. Needs torch and jaxtyping alone; what asks other machines is in `omnigen2.rl.rewards`."""

from omnigen2.rl.advantage import Advantages, Scale, group_advantages
from omnigen2.rl.combine import Clipped, MeanOfPasses, WeightedSum
from omnigen2.rl.coupled import (
    Divergence,
    EqualSteps,
    ExactKL,
    FlowGRPOLoss,
    FlowGRPOObjective,
    InverseLength,
    LikelihoodRatio,
    NoiseScaled,
    NormalizedRatio,
    RatioRule,
    StepWeighting,
    UnscaledKL,
)
from omnigen2.rl.decoupled import DiffusionNFTObjective, NFTLoss, optimality
from omnigen2.rl.reward import (
    Failure,
    Judgement,
    Outcome,
    Picture,
    Reward,
    RewardError,
    RewardRequest,
    Scores,
    check_scores,
    unusable_picture,
)
from omnigen2.rl.reward_process import RewardProcess
from omnigen2.rl.rollout import Decoder, Rollout, RolloutSampler
from omnigen2.rl.sampling import GroupSampler, Member, member_noise, micro_batches
from omnigen2.rl.steps import RandomSteps, RandomWindow, SlidingWindow, Steps, StepSelection

__all__ = [
    "Advantages", "Clipped", "Decoder", "DiffusionNFTObjective", "Divergence", "EqualSteps", "ExactKL", "Failure",
    "FlowGRPOLoss", "FlowGRPOObjective", "GroupSampler", "InverseLength", "Judgement", "LikelihoodRatio",
    "MeanOfPasses", "Member", "NFTLoss", "NoiseScaled", "NormalizedRatio", "Outcome", "Picture", "RandomSteps",
    "RandomWindow", "RatioRule", "Reward", "RewardError", "RewardProcess", "RewardRequest", "Rollout", "RolloutSampler",
    "Scale", "Scores", "SlidingWindow", "StepSelection", "StepWeighting", "Steps", "UnscaledKL", "WeightedSum",
    "check_scores", "group_advantages", "member_noise", "micro_batches", "optimality", "unusable_picture",
]  # fmt: skip
