"""Rectified flow from a normal distribution to two moons: train, sample and plot on one page.

Every point is a sample of one token with two features; pictures have more of both, and the lines stay the same.

    python examples/rectified_flow_two_moons.py --out two_moons.png

Writes the plot and prints how far points are from the moons on average, and how far the moons are from them (which is
large if a moon is missed):

    noise:   0.54 from the moons, moons 0.05 from it
    samples: 0.06 from the moons, moons 0.01 from it
    data:    0.04 from the moons, moons 0.01 from it
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn

from omnigen2.flow import HeunSolver, IdentityShift, RectifiedFlowObjective, UniformTimes, time_grid

Points = Float[Tensor, "points 2"]


class Distances(NamedTuple):
    """Mean distance from points to the moons, and from the moons to the points."""

    to_moons: float
    from_moons: float


class Velocity(nn.Module):
    """A small network `(x_t, t) -> velocity`."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        sizes = (3, hidden, hidden, hidden, hidden)
        layers = (layer for size in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(*size), nn.GELU()))
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, 2))

    def forward(self, x_t: Points, t: Float[Tensor, " points"]) -> Points:
        """The estimate of data - noise."""
        return self.layers(torch.cat((x_t, t[:, None]), dim=1))


def moons(angle: Float[Tensor, " points"], lower: Float[Tensor, " points"]) -> Points:
    """Points on the upper half circle around (-1/2, -1/4), or the lower one around (1/2, 1/4), where `lower` is 1."""
    sign = 1 - 2 * lower
    return torch.stack((angle.cos() - sign / 2, sign * (angle.sin() - 0.25)), dim=1)


def train(steps: int, batch: int, generator: torch.Generator) -> Velocity:
    """Fit the velocity to fresh points at every step."""
    model = Velocity()
    objective = RectifiedFlowObjective(UniformTimes(), IdentityShift())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = objective(model, draw(batch, generator), torch.arange(batch), [1] * batch, generator).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


@torch.no_grad()
def sample(model: Velocity, noise: Points, steps: int = 20) -> Points:
    """Follow the velocity from noise to data."""
    grid = time_grid(steps, IdentityShift(), [1] * len(noise))
    return HeunSolver().solve(model, noise, grid, torch.arange(len(noise)))


def draw(count: int, generator: torch.Generator) -> Points:
    """Two moons with a little noise on them."""
    angle, lower = torch.rand(2, count, generator=generator)
    return moons(angle * torch.pi, lower.round()) + 0.05 * torch.randn(count, 2, generator=generator)


def distances(points: Points) -> Distances:
    """Compare points with the moons without noise."""
    angle = torch.linspace(0, torch.pi, 200).repeat(2)
    apart = torch.cdist(points, moons(angle, torch.arange(400).div(200, rounding_mode="floor")))
    return Distances(apart.min(1).values.mean().item(), apart.min(0).values.mean().item())


def main(out: Path, steps: int = 1000) -> dict[str, Distances]:
    """Train, sample, measure and plot."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = train(steps, 512, generator)
    noise = torch.randn(1000, 2, generator=generator)
    clouds = {"noise": noise, "samples": sample(model, noise), "data": draw(1000, generator)}
    figure = Figure(figsize=(9, 3), layout="constrained")
    colour = torch.atan2(noise[:, 1], noise[:, 0])  # of the noise a sample came from
    for axes, (name, points) in zip(figure.subplots(1, 3, sharex=True, sharey=True), clouds.items(), strict=True):
        axes.scatter(
            *points.T, s=3, c="grey" if name == "data" else colour, cmap=None if name == "data" else "twilight"
        )
        axes.set(title=name, aspect="equal", xlim=(-2.5, 2.5), ylim=(-2.5, 2.5))
    figure.savefig(out, dpi=150)
    found = {name: distances(points) for name, points in clouds.items()}
    for name, (to_moons, from_moons) in found.items():
        print(f"{name + ':':8} {to_moons:.2f} from the moons, moons {from_moons:.2f} from it")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rectified flow on two moons.")
    parser.add_argument("--out", type=Path, default=Path("two_moons.png"))
    torch.set_num_threads(1)  # the tensors are too small for more
    main(parser.parse_args().out)
