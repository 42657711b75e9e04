"""Parity cases of group 7, and packed steps for hypothesis."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from omnigen2.flow import FlowGRPONoise, NoiseLevel, StochasticStep, Transition, transition

PARITY = Path(__file__).parent.parent / "parity"


def parity(name: str) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, float]]:
    """Tensors, manifest entry and tolerances (rtol, atol) of one case."""
    case = json.loads((PARITY / "rl_manifest.json").read_text())[name]
    tolerance = {key: case["tolerance"][key] for key in ("rtol", "atol")}
    return load_file(PARITY / f"{name}.safetensors"), case, tolerance


@dataclass(frozen=True)
class Drawn:
    """A step that a policy drew, and how to score another velocity on it."""

    step: StochasticStep
    velocity: Tensor
    index: Tensor
    level: NoiseLevel

    @property
    def samples(self) -> int:
        return self.step.t.shape[0]

    def score(self, velocity: Tensor) -> Transition:
        step = self.step
        return transition(step.x_t, velocity, step.t, step.t_next, self.index, self.level)

    @property
    def old(self) -> Transition:
        return self.score(self.velocity)


def drawn(tokens: list[int], times: list[float], seed: int, dtype: torch.dtype = torch.float64) -> Drawn:
    generator = torch.Generator().manual_seed(seed)
    index = torch.repeat_interleave(torch.arange(len(tokens)), torch.tensor(tokens))
    x_t, velocity = torch.randn(2, sum(tokens), 3, generator=generator, dtype=dtype)
    t = torch.tensor(times, dtype=dtype)
    level = FlowGRPONoise(0.7)
    law = transition(x_t, velocity, t, t + 0.05, index, level)
    x_next = law.sample(generator)
    return Drawn(StochasticStep(0, t, t + 0.05, x_t, x_next, law.log_prob(x_next)), velocity, index, level)


def official_kl(policy: Transition, reference: Transition, step: StochasticStep) -> Tensor:
    """What the RL code of OmniGen2 computes: squares of each sample times the mean of 1 / (2 σ²) over all samples."""
    squares = 2 * policy.std.square() * policy.kl(reference)
    return squares * ((step.t_next - step.t) / (2 * policy.std.square())).mean()


@st.composite
def steps(draw: st.DrawFn, min_size: int = 1) -> Drawn:
    tokens = draw(st.lists(st.integers(1, 5), min_size=min_size, max_size=4))
    times = draw(st.lists(st.floats(0.05, 0.9), min_size=len(tokens), max_size=len(tokens)))
    return drawn(tokens, times, draw(st.integers(0, 2**31)))
