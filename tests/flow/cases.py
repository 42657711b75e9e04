"""Packed batches for hypothesis, and the parity cases computed with the official code."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

PARITY = Path(__file__).parent.parent / "parity"


@dataclass(frozen=True)
class Packed:
    noise: Tensor
    data: Tensor
    t: Tensor
    sample_index: Tensor
    tokens: list[int]


@st.composite
def packed(draw: st.DrawFn, low: float = 0.0, high: float = 1.0, channels: int = 3) -> Packed:
    """A packed batch in float64, tokens of the samples shuffled among one another, times in [low, high]."""
    tokens = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    owners = torch.repeat_interleave(torch.arange(len(tokens)), torch.tensor(tokens))
    owners = owners[torch.randperm(len(owners), generator=generator)]
    times = draw(st.lists(st.floats(low, high), min_size=len(tokens), max_size=len(tokens)))
    noise, data = torch.randn(2, sum(tokens), channels, generator=generator, dtype=torch.float64)
    return Packed(noise, data, torch.tensor(times, dtype=torch.float64), owners, tokens)


def parity(name: str) -> tuple[dict[str, Tensor], dict[str, object], dict[str, float]]:
    """Tensors, manifest entry and tolerances (rtol, atol) of one case."""
    case = json.loads((PARITY / "flow_manifest.json").read_text())[name]
    return load_file(PARITY / f"{name}.safetensors"), case, case["tolerance"]
