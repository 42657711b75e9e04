r"""Solvers for $\mathrm d x / \mathrm d t = \text{velocity}(x, t)$ over packed tokens.

Every sample has its own column of the time grid, so that pictures of different sizes, shifted differently, are
sampled in one packed batch. States are float32 or wider. Coefficients are computed on the host in float64 and copied
to the device once before the first step; the loop never waits for the device.

A solver says one step (`step`). The loop is the same for all, a generator of states (`states`), so that the caller
owns it: progress bars, previews and early stops need no callbacks. Wrap the call in `torch.no_grad()` to sample;
without it, gradients flow through all steps.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from omnigen2.flow.checks import check_choice
from omnigen2.flow.grid import Models, Times, Walk, plan_walk
from omnigen2.flow.model import VelocityModel, call_model
from omnigen2.flow.packed import SampleIndex, States, spread

Order: TypeAlias = Literal[2, 3]
Correction: TypeAlias = Literal["midpoint", "heun"]
SecondDifference: TypeAlias = Literal["integrated", "halved"]


@dataclass(slots=True)
class Memory:
    """What one run of a solver keeps between its steps.

    Attributes:
        walk: The checked grid.
        numbers: What `Solver.coefficients` said, in the dtype and on the device of the state.
        sample_index: The sample of each token.
        past: What earlier steps left, newest first.
    """

    walk: Walk
    numbers: Float[Tensor, "steps numbers samples"]
    sample_index: SampleIndex
    past: tuple[States, ...] = ()

    def coefficient(self, k: int, number: int, x: States) -> Float[Tensor, "..."]:
        """One coefficient of step k, shaped to multiply `x`."""
        return spread(self.numbers[k, number], x, self.sample_index)


class Solver(ABC):
    """A way from noise to data along a time grid: the numbers of its steps, and one step."""

    def coefficients(self, times: Times) -> Float[Tensor, "steps numbers samples"]:
        """The numbers of each step, computed before the first: here its length alone.

        Args:
            times: float64 on the host, shape (steps + 1, samples), increasing in [0, 1].
        """
        return times.diff(dim=0)[:, None]

    @abstractmethod
    def step(self, k: int, model: VelocityModel, x: States, memory: Memory) -> States:
        """The state after step k, from the state `x` before it."""

    def states(self, model: Models, noise: States, times: Times, sample_index: SampleIndex) -> Iterator[States]:
        """The state after each step.

        Args:
            model: The velocity, or one velocity per step.
            noise: State at the first time, shape (tokens, *features).
            times: Increasing times on the CPU, shape (steps + 1, samples), as `time_grid` makes them.
            sample_index: The sample of each token, shape (tokens,).

        Yields:
            Shape (tokens, *features), float32 or wider; the last one is the result.
        """
        walk = plan_walk(model, noise, times, sample_index)
        memory = Memory(walk, walk.on_device(self.coefficients(walk.exact)), sample_index)
        x = walk.start
        for k, step_model in walk:
            x = self.step(k, step_model, x, memory)
            yield x

    def solve(self, model: Models, noise: States, times: Times, sample_index: SampleIndex) -> States:
        """The state at the last time; the arguments are those of `states`."""
        x = noise
        for state in self.states(model, noise, times, sample_index):
            x = state
        return x


@dataclass(frozen=True, slots=True)
class EulerSolver(Solver):
    """Order 1, one evaluation per step; exact where velocities are constant. What the official pipeline uses."""

    @override
    def step(self, k: int, model: VelocityModel, x: States, memory: Memory) -> States:
        return x + memory.coefficient(k, 0, x) * call_model(model, x, memory.walk.times[k])


@dataclass(frozen=True, slots=True)
class HeunSolver(Solver):
    """Order 2, two evaluations per step: an Euler step, then the mean of the velocities at its two ends.

    It evaluates the model at the last time of the grid, t = 1, too.

    Source: Karras et al., arXiv:2206.00364, algorithm 1 (whose last step is left at order 1, because its velocity
    divides by sigma; ours does not).
    """

    @override
    def step(self, k: int, model: VelocityModel, x: States, memory: Memory) -> States:
        dt = memory.coefficient(k, 0, x)
        here = call_model(model, x, memory.walk.times[k])
        there = call_model(model, x + dt * here, memory.walk.times[k + 1])
        return x + dt * (here + there) / 2


@dataclass(frozen=True, slots=True)
class DPMSolver(Solver):
    r"""DPM-Solver++ multistep of order 2 or 3, one evaluation per step.

    It integrates the data prediction $x_t + (1 - t)\,\text{velocity}$ in the half log signal-to-noise ratio
    $\lambda = \log t - \log(1 - t)$, reusing the predictions of the one or two steps before. The first step, and the
    last one when it ends at t = 1 where $\lambda$ is infinite, are of order 1; at order 3 the second step is of order 2
    and so is the last but one of a grid of fewer than 15 steps, as in the official scheduler. A previous step that
    began at t = 0 lies infinitely far away in $\lambda$ and contributes nothing.

    The third-order formula that the authors' code, diffusers and the official scheduler share gives the second
    difference half the weight of the parabola through the three predictions, which leaves it at order 2.
    `second_difference="halved"` reproduces it; on the whole path with few steps its caution can pay.

    Source: Lu et al., arXiv:2211.01095, algorithm 2 (2M), and the integrals of its eq. 9 for 3M.

    Attributes:
        order: 2 or 3.
        correction: Weight of the first difference in steps of order 2: half the step's own weight (`"midpoint"`) or
            the exact integral of a straight line (`"heun"`).
        second_difference: Its weight in steps of order 3: the exact integral of a parabola (`"integrated"`), or half
            of that (`"halved"`).
    """

    order: Order = 2
    correction: Correction = "midpoint"
    second_difference: SecondDifference = "integrated"

    def __post_init__(self) -> None:
        check_choice("order of DPMSolver", self.order, Order)
        check_choice("correction of DPMSolver", self.correction, Correction)
        check_choice("second_difference of DPMSolver", self.second_difference, SecondDifference)

    @override
    def coefficients(self, times: Times) -> Float[Tensor, "steps numbers samples"]:
        """The four `weights` of each step, and what its velocity is multiplied with to predict the data."""
        return torch.cat([self.weights(times), (1 - times[:-1])[:, None]], dim=1)

    @override
    def step(self, k: int, model: VelocityModel, x: States, memory: Memory) -> States:
        data = x + memory.coefficient(k, 4, x) * call_model(model, x, memory.walk.times[k])
        memory.past = (data, *memory.past[:2])
        mixed = memory.coefficient(k, 0, x) * x
        for back in range(self._order_of(k, memory.walk.exact)):
            mixed = mixed + memory.coefficient(k, 1 + back, x) * memory.past[back]
        return mixed

    def weights(self, times: Times) -> Float[Tensor, "steps 4 samples"]:
        """What each step multiplies the state and the last three data predictions with, newest first.

        The four numbers of a step, in float64, add up so that a constant data prediction is integrated exactly.
        """
        half_log_snr = times.log() - torch.log1p(-times)
        return torch.stack([self._step_weights(k, times, half_log_snr) for k in range(times.shape[0] - 1)])

    def _order_of(self, k: int, times: Times) -> int:
        steps = times.shape[0] - 1
        if k == 0 or bool((times[k + 1] == 1).any()):
            return 1
        if k == steps - 2 and steps < 15:
            return 2
        return min(self.order, k + 1)

    def _step_weights(self, k: int, times: Times, half_log_snr: Times) -> Float[Tensor, "4 samples"]:
        start, end = times[k], times[k + 1]
        keep = (1 - end) / (1 - start)
        newest = end - keep * start
        none = torch.zeros_like(keep)
        order = self._order_of(k, times)
        if order == 1:
            return torch.stack([keep, newest, none, none])
        steps = half_log_snr.diff(dim=0)
        h, h_before = steps[k], steps[k - 1]
        line = end - newest / h
        if order == 2:
            slope = (newest / 2 if self.correction == "midpoint" else line) * h / h_before
            return torch.stack([keep, newest + slope, -slope, none])
        h_first = steps[k - 2]
        share, stretch = h_before / (h_before + h_first), h / (h_before + h_first)
        curve = line / h - end / 2
        if self.second_difference == "integrated":
            curve = 2 * curve
        recent = (line * (1 + share) - curve * stretch) * h / h_before
        earlier = (curve * stretch - line * share) * h / h_first
        return torch.stack([keep, newest + recent, earlier - recent, -earlier])
