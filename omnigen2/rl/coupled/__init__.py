"""Alignment by log-probabilities of noisy steps: Flow-GRPO's objective and its published variants."""

from omnigen2.rl.coupled.divergence import Divergence, ExactKL, UnscaledKL
from omnigen2.rl.coupled.objective import FlowGRPOLoss, FlowGRPOObjective
from omnigen2.rl.coupled.ratio import LikelihoodRatio, NormalizedRatio, RatioRule
from omnigen2.rl.coupled.weighting import EqualSteps, InverseLength, NoiseScaled, StepWeighting

__all__ = [
    "Divergence", "EqualSteps", "ExactKL", "FlowGRPOLoss", "FlowGRPOObjective", "InverseLength", "LikelihoodRatio",
    "NoiseScaled", "NormalizedRatio", "RatioRule", "StepWeighting", "UnscaledKL",
]  # fmt: skip
