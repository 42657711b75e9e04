"""Rectified flow over packed tokens, from the objective to the sampler. Needs torch and jaxtyping alone."""

from omnigen2.flow.elements import ElementCount, share_of_elements
from omnigen2.flow.model import VelocityModel
from omnigen2.flow.objective import FlowLoss, RectifiedFlowObjective, TimeBins
from omnigen2.flow.packed import elements_per_sample, spread, sum_per_sample
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
from omnigen2.flow.times import LogitNormalTimes, StratifiedTimes, TimeDistribution, TimeSampler, UniformTimes
from omnigen2.flow.weighting import CosineMapWeighting, LossWeighting, Unweighted

__all__ = [
    "AtTokens",
    "CosineMapWeighting",
    "ElementCount",
    "ExponentialShift",
    "FixedShift",
    "FlowLoss",
    "IdentityShift",
    "LogitNormalTimes",
    "LossWeighting",
    "RectifiedFlowObjective",
    "SquareRootShift",
    "StratifiedTimes",
    "TimeBins",
    "TimeDistribution",
    "TimeSampler",
    "TimeShift",
    "UniformTimes",
    "Unweighted",
    "VelocityModel",
    "check_times",
    "data_to_noise",
    "data_to_score",
    "data_to_velocity",
    "elements_per_sample",
    "interpolate",
    "noise_to_data",
    "noise_to_score",
    "noise_to_velocity",
    "score_to_data",
    "score_to_noise",
    "score_to_velocity",
    "share_of_elements",
    "spread",
    "sum_per_sample",
    "time_grid",
    "velocity",
    "velocity_to_data",
    "velocity_to_noise",
    "velocity_to_score",
]
