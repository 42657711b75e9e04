"""Nothing here asks the device a question: on the meta device, which has no numbers to give, everything still runs."""

import pytest
import torch
from torch import Tensor

from omnigen2 import flow
from omnigen2.flow import path

META = torch.device("meta")
INDEX = torch.arange(2).repeat(3).to(META)
X = torch.zeros(6, 4, device=META)


def model(x_t: Tensor, t: Tensor) -> Tensor:
    return x_t * t[INDEX.repeat(len(t) // 2)][:, None]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_conversions() -> None:
    t = torch.zeros(2, device=META)
    for a in ("velocity", "data", "noise", "score"):
        for b in ("velocity", "data", "noise", "score"):
            if a != b:
                assert getattr(path, f"{a}_to_{b}")(X, X, t, INDEX).device == META


@pytest.mark.parametrize("sampler", [flow.UniformTimes(), flow.StratifiedTimes(flow.LogitNormalTimes(), 1, 2)])
def test_objective(sampler: flow.TimeSampler) -> None:
    objective = flow.RectifiedFlowObjective(sampler, flow.ExponentialShift(), flow.CosineMapWeighting())
    out = objective(model, X, INDEX, [3, 3], generator())
    assert out.loss.device == out.per_sample.device == out.bins.mean().device == META


@pytest.mark.parametrize("solver", [flow.EulerSolver(), flow.HeunSolver(), flow.DPMSolver(), flow.DPMSolver(order=3)])
def test_guided_solvers(solver: flow.Solver) -> None:
    guidance = flow.RescaledGuidance(flow.ZeroStarGuidance(flow.TextImageGuidance(4.0, 2.0)))
    models = flow.GuidanceSchedule(0.2, 0.8, 1).models(guidance(model, INDEX), model, 8)
    times = flow.time_grid(8, flow.SquareRootShift(), [3, 300])
    assert solver.solve(models, X, times, INDEX).device == META


def test_sde() -> None:
    times = flow.time_grid(4, flow.SquareRootShift(), [3, 300])
    walk = flow.sample_sde(model, X, times, INDEX, flow.FlowGRPONoise(), generator(), range(1, 3))
    assert walk.states.device == walk.log_probs.device == META
    for step in walk.stochastic_steps():
        law = flow.transition(step.x_t, X, step.t, step.t_next, INDEX, flow.FlowGRPONoise())
        assert law.log_prob(step.x_next).device == law.kl(law).device == META
