"""Rectified flow over packed tokens, from the objective to the sampler. Needs torch and jaxtyping alone."""

from omnigen2.flow.draw import Draw, draw_times_and_noise
from omnigen2.flow.elements import ElementCount, share_of_elements
from omnigen2.flow.grid import Models, Times
from omnigen2.flow.guidance import Guidance, RescaledGuidance, TextGuidance, TextImageGuidance, ZeroStarGuidance
from omnigen2.flow.guidance_schedule import GuidanceSchedule, zero_velocity
from omnigen2.flow.model import VelocityModel, call_model
from omnigen2.flow.objective import FlowLoss, RectifiedFlowObjective, TimeBins
from omnigen2.flow.ode import DPMSolver, EulerSolver, HeunSolver, Solver
from omnigen2.flow.packed import PerSample, SampleIndex, elements_per_sample, mean_per_sample, spread, sum_per_sample
from omnigen2.flow.path import (
    check_times,
    data_to_noise,
    data_to_score,
    data_to_velocity,
    interpolate,
    noise_to_data,
    noise_to_score,
    noise_to_velocity,
    score_to_data,
    score_to_noise,
    score_to_velocity,
    velocity,
    velocity_to_data,
    velocity_to_noise,
    velocity_to_score,
)
from omnigen2.flow.schedule import (
    AtTokens,
    ExponentialShift,
    FixedShift,
    IdentityShift,
    SquareRootShift,
    TimeShift,
    time_grid,
)
from omnigen2.flow.sde import sample_sde
from omnigen2.flow.times import LogitNormalTimes, StratifiedTimes, TimeDistribution, TimeSampler, UniformTimes
from omnigen2.flow.trajectory import StochasticStep, Trajectory
from omnigen2.flow.transition import (
    CoefficientPreservingNoise,
    ConstantNoise,
    FlowGRPONoise,
    NoiseLevel,
    Reduction,
    Transition,
    transition,
)
from omnigen2.flow.weighting import CosineMapWeighting, LossWeighting, Unweighted

__all__ = [
    "AtTokens", "CoefficientPreservingNoise", "ConstantNoise", "CosineMapWeighting", "DPMSolver", "Draw",
    "ElementCount", "EulerSolver", "ExponentialShift", "FixedShift", "FlowGRPONoise", "FlowLoss", "Guidance",
    "GuidanceSchedule", "HeunSolver", "IdentityShift", "LogitNormalTimes", "LossWeighting", "Models", "NoiseLevel",
    "PerSample", "RectifiedFlowObjective", "Reduction", "RescaledGuidance", "SampleIndex", "Solver", "SquareRootShift",
    "StochasticStep", "StratifiedTimes", "TextGuidance", "TextImageGuidance", "TimeBins", "TimeDistribution",
    "TimeSampler", "TimeShift", "Times", "Trajectory", "Transition", "UniformTimes", "Unweighted", "VelocityModel",
    "ZeroStarGuidance", "call_model", "check_times", "data_to_noise", "data_to_score", "data_to_velocity",
    "draw_times_and_noise", "elements_per_sample", "interpolate", "mean_per_sample", "noise_to_data", "noise_to_score",
    "noise_to_velocity", "sample_sde", "score_to_data", "score_to_noise", "score_to_velocity", "share_of_elements",
    "spread", "sum_per_sample", "time_grid", "transition", "velocity", "velocity_to_data", "velocity_to_noise",
    "velocity_to_score", "zero_velocity",
]  # fmt: skip
