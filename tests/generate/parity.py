"""The parity cases of guidance and of the denoising loop."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

FOLDER = Path(__file__).parent.parent / "parity"


def case(name: str) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, float]]:
    """Tensors, manifest entry and tolerances (rtol, atol) of one case."""
    entry = json.loads((FOLDER / "generate_manifest.json").read_text())[name]
    return load_file(FOLDER / f"{name}.safetensors"), entry, entry["tolerance"]


def decoder_input(latent: Tensor, entry: dict[str, Any]) -> Tensor:
    """What the official pipeline gives its decoder."""
    values = entry["hyperparameters"]
    return latent / values["vae_scaling_factor"] + values["vae_shift_factor"]


def check(actual: Tensor, expected: Tensor, tolerance: dict[str, float], name: str) -> None:
    torch.testing.assert_close(actual, expected, **tolerance, msg=lambda text: f"{name}: {text}")
