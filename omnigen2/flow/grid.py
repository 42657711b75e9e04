"""A checked time grid with one column per sample, shared by the deterministic and the stochastic samplers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.flow.model import VelocityModel
from omnigen2.flow.packed import SampleIndex, States, check_sample_index
from omnigen2.flow.path import check_times, working_dtype

Times: TypeAlias = Float[Tensor, "points samples"]
"""Times of every sample on the host, increasing along the first axis."""
Models: TypeAlias = VelocityModel | Sequence[VelocityModel]
"""One model for all steps, or one for each step (what a `GuidanceSchedule` gives)."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The steps of one run of a sampler.

    Attributes:
        models: The model of each step.
        times: What the models are given, on the device of the state, shape (steps + 1, samples).
        exact: The same times on the host in float64, for coefficients.
        start: The first state, in float32 or wider.
    """

    models: tuple[VelocityModel, ...]
    times: Float[Tensor, "points samples"]
    exact: Float[Tensor, "points samples"]
    start: States

    def increments(self) -> Float[Tensor, "steps samples"]:
        """Length of each step in the dtype and on the device of the state, from differences in float64."""
        return self.on_device(self.exact.diff(dim=0))

    def on_device(self, coefficients: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Host coefficients in the dtype and on the device of the state, without waiting for it."""
        return coefficients.to(self.start.dtype).to(self.start.device, non_blocking=True)

    def __iter__(self) -> Iterator[tuple[int, VelocityModel]]:
        return enumerate(self.models)


def plan_walk(model: Models, noise: States, times: Times, sample_index: SampleIndex) -> Walk:
    """Check a grid, and bring it to where it is needed.

    Raises:
        ValueError: If the grid is not on the CPU, has no step, does not increase or leaves [0, 1], or if the number
            of models is not the number of steps.
    """
    check_sample_index(sample_index, noise.shape[0])
    if times.device.type != "cpu" or times.ndim != 2 or times.shape[0] < 2:
        raise ValueError(
            f"times must be a CPU tensor of shape (steps + 1, samples) with at least 1 step, got shape "
            f"{tuple(times.shape)} on {times.device}; omnigen2.flow.time_grid makes one"
        )
    check_times(times)
    if not bool((times.diff(dim=0) > 0).all()):
        raise ValueError(
            "times must increase strictly along the first axis, from noise (0) towards data (1); "
            "a grid of sigmas is converted by t = 1 - sigma"
        )
    steps = times.shape[0] - 1
    models = tuple(model) if isinstance(model, Sequence) else (model,) * steps
    if len(models) != steps:
        raise ValueError(f"got {len(models)} models for a grid of {steps} steps; give one per step, or a single one")
    start = noise.to(working_dtype(noise))
    return Walk(models, times.to(noise.device, non_blocking=True), times.to(torch.float64), start)
