"""Velocity fields with known answers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from omnigen2.flow.transition import NoiseLevel


@dataclass(frozen=True)
class GaussianFlow:
    """The exact flow to normal data with the given mean and standard deviation, one pair per sample."""

    mean: Tensor
    std: Tensor
    sample_index: Tensor

    def wide(self, values: Tensor) -> Tensor:
        """One value per sample, as one per token."""
        return values[self.sample_index][:, None]

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        t, mean, std = map(self.wide, (t.to(x_t.dtype), self.mean, self.std))
        variance = t.square() * std.square() + (1 - t).square()
        return mean + (t * std.square() - (1 - t)) / variance * (x_t - t * mean)

    def spread_at(self, t: Tensor) -> Tensor:
        """Standard deviation of x_t per sample."""
        return (t.square() * self.std.square() + (1 - t).square()).sqrt()

    def exact(self, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Where the flow takes x from one time to another."""
        standard = (x - self.wide(start * self.mean)) / self.wide(self.spread_at(start))
        return self.wide(end * self.mean) + self.wide(self.spread_at(end)) * standard


def gaussian_flow(samples: int = 2, tokens: int = 3) -> tuple[GaussianFlow, Tensor]:
    """A flow in float64 and noise for it, tokens of the samples interleaved."""
    generator = torch.Generator().manual_seed(0)
    index = torch.arange(samples).repeat(tokens)
    mean = torch.linspace(-1, 2, samples, dtype=torch.float64)
    std = torch.linspace(0.3, 0.6, samples, dtype=torch.float64)
    noise = torch.randn(samples * tokens, 4, generator=generator, dtype=torch.float64)
    return GaussianFlow(mean, std, index), noise


def slope(steps: list[int], errors: list[float]) -> float:
    """Order of convergence: minus the slope of log error over log steps, by least squares."""
    x, y = torch.tensor(steps, dtype=torch.float64).log(), torch.tensor(errors, dtype=torch.float64).log()
    return -(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()).item()


class NoNoise(NoiseLevel):
    """The level 0, which the library's own classes refuse."""

    def __call__(self, t: Tensor, t_next: Tensor, /) -> Tensor:
        del t_next
        return torch.zeros_like(t)
