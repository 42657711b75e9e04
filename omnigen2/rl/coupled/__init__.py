"""TODO."""

from omnigen2.rl.coupled.divergence import Divergence, ExactKL, MixedKL, UnscaledKL
from omnigen2.rl.coupled.objective import FlowGRPOLoss, FlowGRPOObjective
from omnigen2.rl.coupled.ratio import LikelihoodRatio, NormalizedRatio, RatioRule
from omnigen2.rl.coupled.weighting import EqualSteps, InverseLength, NoiseScaled, OfficialNoiseScaled, StepWeighting

__all__ = [
    "Divergence", "EqualSteps", "ExactKL", "FlowGRPOLoss", "FlowGRPOObjective", "InverseLength", "LikelihoodRatio",
    "MixedKL", "NoiseScaled", "NormalizedRatio", "OfficialNoiseScaled", "RatioRule", "StepWeighting", "UnscaledKL",
]  # fmt: skip
