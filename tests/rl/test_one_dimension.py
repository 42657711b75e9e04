"""One number per sample, a policy with one parameter, and an optimum in closed form."""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from torch import Tensor

from omnigen2.flow import FlowGRPONoise, IdentityShift, transition
from omnigen2.rl import (
    EqualSteps,
    ExactKL,
    FlowGRPOObjective,
    InverseLength,
    LikelihoodRatio,
    NormalizedRatio,
    RandomSteps,
    RatioRule,
    Rollout,
    RolloutSampler,
    SlidingWindow,
    StepSelection,
    StepWeighting,
    group_advantages,
)

SPREAD, STEPS, SAMPLES = 0.4, 6, 64


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Without shape checks, which take most of the time of so small tensors; the other tests have them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class Policy:
    """The exact flow to a normal distribution with mean `mean` and standard deviation SPREAD."""

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        t = t.to(x_t.dtype)[:, None]
        variance = t.square() * SPREAD**2 + (1 - t).square()
        return self.mean + (t * SPREAD**2 - (1 - t)) / variance * (x_t - t * self.mean)


def train(
    reward: str,
    iterations: int,
    lr: float,
    selection: StepSelection,
    objective: FlowGRPOObjective,
    weighting: StepWeighting,
) -> float:
    """The mean after training, averaged over the last third of the iterations."""
    mean = torch.zeros(1, requires_grad=True)
    start, history = Policy(torch.zeros(1)), []
    optimizer = torch.optim.Adam([mean], lr)
    generator = torch.Generator().manual_seed(0)
    sampler = RolloutSampler(IdentityShift(), FlowGRPONoise(0.7), STEPS, keep_velocities=True)
    for iteration in range(iterations):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - iteration / iterations)
        steps = selection(STEPS, iteration)
        noise = torch.randn(SAMPLES, 1, generator=generator)
        rollout = sampler(Policy(mean), noise, (1,) * SAMPLES, (0,) * SAMPLES, generator, steps.stochastic)
        x = rollout.trajectory.final[:, 0]
        rewards = -(x - 1.5).square() if reward == "target" else x
        advantages = group_advantages(rewards, rollout.group).values
        optimizer.zero_grad()
        update(rollout, Policy(mean), start, advantages, steps.trained, objective, weighting)
        optimizer.step()
        history.append(mean.item())
    tail = history[2 * iterations // 3 :]
    return sum(tail) / len(tail)


def update(
    rollout: Rollout,
    policy: Policy,
    start: Policy,
    advantages: Tensor,
    trained: tuple[int, ...],
    objective: FlowGRPOObjective,
    weighting: StepWeighting,
) -> None:
    weights = weighting(rollout.trajectory.times, trained, rollout.noise_level)
    total = torch.zeros(())
    for (row, step), weight in zip(rollout.steps(trained), weights, strict=True):
        scored = rollout.score(policy, step)
        with torch.no_grad():
            reference = rollout.score(start, step) if objective.kl_weight else None
            old = rollout.old(row) if isinstance(objective.ratio, NormalizedRatio) else None
        total = total + objective(scored, step, advantages, weight, reference, old, SAMPLES * len(trained)).loss
    total.backward()


@pytest.mark.parametrize(
    ("selection", "ratio", "weighting"),
    [
        (RandomSteps(0.5, skip_first=1), LikelihoodRatio(), EqualSteps()),
        (SlidingWindow(2, hold=2, skip_first=1), NormalizedRatio(), InverseLength()),
    ],
    ids=["Flow-GRPO", "MixGRPO with GRPO-Guard"],
)
def test_the_mean_goes_to_the_target(selection: StepSelection, ratio: RatioRule, weighting: StepWeighting) -> None:
    """Reward -(x - 1.5)²: among normal distributions of one spread the best has mean 1.5."""
    objective = FlowGRPOObjective(0.2, 0.2, kl_weight=0, ratio=ratio)
    assert train("target", 60, 0.15, selection, objective, weighting) == pytest.approx(1.5, abs=0.1)


def test_the_kl_stops_the_mean_where_it_should() -> None:
    """Reward x, normalised by its spread, against the KL from the start: the optimum of a line minus a parabola.

    With all steps trained, the objective is the mean over steps of the KL, (m² / 2) times the mean of
    (d mean / d m)² / std², and the derivative of the normalised reward is (d x / d m) / spread divided by the steps.
    """
    weight = 2.0
    objective = FlowGRPOObjective(0.5, 0.5, kl_weight=weight, divergence=ExactKL(), advantage_clip=10)
    found = train("line", 60, 0.1, RandomSteps(1.0), objective, EqualSteps())
    assert found == pytest.approx(optimum(weight), rel=0.1)


def optimum(weight: float) -> float:
    """Slope over curvature, from the affine chain itself, in float64: how a step's mean moves with x and with m."""
    level, index = FlowGRPONoise(0.7), torch.zeros(1, dtype=torch.int64)
    times = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)[:, None]
    response, variance, curvature = 0.0, 1.0, 0.0
    for t, t_next in zip(times, times[1:], strict=False):

        def mean_at(x: float, m: float, t: Tensor = t, t_next: Tensor = t_next) -> tuple[float, float]:
            state, where = torch.tensor([[x]], dtype=torch.float64), Policy(torch.tensor([m], dtype=torch.float64))
            step = transition(state, where(state, t), t, t_next, index, level)
            return step.mean.item(), step.std.item()

        push, std = mean_at(0.0, 1.0)
        factor, _ = mean_at(1.0, 0.0)
        curvature += (push / std) ** 2 / STEPS
        response, variance = factor * response + push, factor**2 * variance + std**2
    return response / variance**0.5 / STEPS / (weight * curvature)
