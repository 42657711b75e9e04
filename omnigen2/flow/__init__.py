"""Rectified flow over packed tokens, from the objective to the sampler. Needs torch and jaxtyping alone.

Example: a small network learns to carry noise to points around (2, -1). Each point is a sample of one token.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.SiLU(), torch.nn.Linear(32, 2))
    >>> index, tokens, shift = torch.arange(256), [1] * 256, IdentityShift()
    >>> objective, optimizer = RectifiedFlowObjective(UniformTimes(), shift), torch.optim.Adam(net.parameters(), 0.02)
    >>> model = lambda x_t, t: net(torch.cat((x_t, t[:, None]), dim=1))
    >>> for step in range(100):
    ...     data = torch.tensor([2.0, -1.0]) + 0.1 * torch.randn(256, 2)
    ...     objective(model, data, index, tokens, torch.Generator().manual_seed(step)).loss.backward()
    ...     _ = optimizer.step(), optimizer.zero_grad()
    >>> EulerSolver().solve(model, torch.randn(256, 2), time_grid(8, shift, tokens), index).mean(0).round().tolist()
    [2.0, -1.0]
"""

from omnigen2.flow.elements import CosineMapWeighting, ElementCount, LossWeighting, Unweighted, share_of_elements
from omnigen2.flow.grid import Models, Times
from omnigen2.flow.guidance import (
    Guidance,
    GuidanceSchedule,
    RescaledGuidance,
    TextGuidance,
    TextImageGuidance,
    ZeroStarGuidance,
    zero_velocity,
)
from omnigen2.flow.model import VelocityModel, call_model
from omnigen2.flow.objective import FlowLoss, RectifiedFlowObjective, TimeBins
from omnigen2.flow.ode import DPMSolver, EulerSolver, HeunSolver, Memory, Solver
from omnigen2.flow.packed import PerSample, SampleIndex, elements_per_sample, mean_per_sample, spread, sum_per_sample
from omnigen2.flow.path import (
    Draw,
    check_times,
    data_to_noise,
    data_to_score,
    data_to_velocity,
    draw_times_and_noise,
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

__all__ = [
    "AtTokens", "CoefficientPreservingNoise", "ConstantNoise", "CosineMapWeighting", "DPMSolver", "Draw",
    "ElementCount", "EulerSolver", "ExponentialShift", "FixedShift", "FlowGRPONoise", "FlowLoss", "Guidance",
    "GuidanceSchedule", "HeunSolver", "IdentityShift", "LogitNormalTimes", "LossWeighting", "Memory", "Models",
    "NoiseLevel", "PerSample", "RectifiedFlowObjective", "Reduction", "RescaledGuidance", "SampleIndex", "Solver",
    "SquareRootShift", "StochasticStep", "StratifiedTimes", "TextGuidance", "TextImageGuidance", "TimeBins",
    "TimeDistribution", "TimeSampler", "TimeShift", "Times", "Trajectory", "Transition", "UniformTimes", "Unweighted",
    "VelocityModel", "ZeroStarGuidance", "call_model", "check_times", "data_to_noise", "data_to_score",
    "data_to_velocity", "draw_times_and_noise", "elements_per_sample", "interpolate", "mean_per_sample",
    "noise_to_data", "noise_to_score", "noise_to_velocity", "sample_sde", "score_to_data", "score_to_noise",
    "score_to_velocity", "share_of_elements", "spread", "sum_per_sample", "time_grid", "transition", "velocity",
    "velocity_to_data", "velocity_to_noise", "velocity_to_score", "zero_velocity",
]  # fmt: skip
