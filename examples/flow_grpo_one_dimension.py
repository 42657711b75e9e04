"""Flow-GRPO with a policy that has one parameter, where the best reward is known.

The policy is the exact flow to a normal distribution with a fixed spread; what it learns is the mean. The reward is
minus the squared distance to a target, so the best mean is the target, and the best expected reward minus the variance.

    python examples/flow_grpo_one_dimension.py

Prints the mean and the expected reward:

    before: mean 0.00, reward -2.40
    after:  mean 1.48, reward -0.16
    best:   mean 1.50, reward -0.16
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnigen2.flow import EulerSolver, FlowGRPONoise, IdentityShift, time_grid
from omnigen2.rl import FlowGRPOObjective, RandomSteps, RolloutSampler, group_advantages

SPREAD, TARGET = 0.4, 1.5
GROUPS, MEMBERS, STEPS = 8, 8, 6

States = Float[Tensor, "samples 1"]


class Policy(nn.Module):
    """The velocity E[data - noise | x_t] of data with mean `mean` and standard deviation SPREAD."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1))

    def forward(self, x_t: States, t: Float[Tensor, " samples"]) -> States:
        """The velocity at each sample's time."""
        t = t[:, None]
        slope = (t * SPREAD**2 - (1 - t)) / (t**2 * SPREAD**2 + (1 - t) ** 2)
        return self.mean + slope * (x_t - t * self.mean)


class Result(NamedTuple):
    """A mean, and the expected reward of samples drawn without noise in the steps."""

    mean: float
    reward: float


def reward(x: States) -> Float[Tensor, " samples"]:
    """One number per sample; higher is better."""
    return -(x[:, 0] - TARGET).square()


def train(policy: Policy, iterations: int, generator: torch.Generator) -> None:
    """Draw groups, compare their members, and make the better ones more likely."""
    sampler = RolloutSampler(IdentityShift(), FlowGRPONoise(0.7), STEPS)
    objective = FlowGRPOObjective(clip_low=0.2, clip_high=0.2, kl_weight=0)
    selection = RandomSteps(share=0.5, skip_first=1)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.15)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.01, iterations)
    samples = GROUPS * MEMBERS
    group = [number // MEMBERS for number in range(samples)]
    for iteration in range(iterations):
        steps = selection(STEPS, iteration)
        noise = torch.randn(samples, 1, generator=generator)
        rollout = sampler(policy, noise, [1] * samples, group, generator, steps.stochastic)
        advantages = group_advantages(reward(rollout.trajectory.final), rollout.group).values
        optimizer.zero_grad()
        for _, step in rollout.steps(steps.trained):
            scored = rollout.score(policy, step)
            objective(scored, step, advantages, count=samples * len(steps.trained)).loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def evaluate(policy: Policy, samples: int = 4096) -> Result:
    """Draw with many small steps of the ODE."""
    noise = torch.randn(samples, 1, generator=torch.Generator().manual_seed(1))
    grid = time_grid(100, IdentityShift(), [1] * samples)
    drawn = EulerSolver().solve(policy, noise, grid, torch.arange(samples))
    return Result(policy.mean.item(), reward(drawn).mean().item())


def main(iterations: int = 60) -> tuple[Result, Result, Result]:
    """Train; the results before and after it, and the best possible one."""
    policy = Policy()
    before = evaluate(policy)
    train(policy, iterations, torch.Generator().manual_seed(0))
    after, best = evaluate(policy), Result(TARGET, -(SPREAD**2))
    for name, result in (("before", before), ("after", after), ("best", best)):
        print(f"{name + ':':7} mean {result.mean:.2f}, reward {result.reward:.2f}")
    return before, after, best


if __name__ == "__main__":
    main()
