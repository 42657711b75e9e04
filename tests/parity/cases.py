"""Loading and comparing parity cases."""

import json
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

FOLDER = Path(__file__).parent
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())


@dataclass(frozen=True)
class Case:
    """One parity case: tensors by name, hyperparameters, tolerances."""

    name: str

    @property
    def entry(self) -> dict[str, Any]:
        return MANIFEST["cases"][self.name]

    @property
    def hyperparameters(self) -> dict[str, Any]:
        return self.entry["hyperparameters"]

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(FOLDER / self.entry["file"])

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def weights(self) -> dict[str, Tensor]:
        """Stored and procedurally generated weights by released key."""
        stored = {
            name.removeprefix("weights."): tensor
            for name, tensor in self.tensors.items()
            if name.startswith("weights.")
        }
        recipes = self.hyperparameters.get("procedural", {})
        made = {name: procedural(**recipe) for name, recipe in recipes.items()}
        for name, tensor in made.items():
            torch.testing.assert_close(tensor.flatten()[:8], self[f"check.{name}"], rtol=0, atol=0)
        return stored | made

    def check(self, actual: Tensor, name: str) -> None:
        """Compare with the stored tensor within the manifest's tolerance."""
        expected = self[name]
        tolerance = self.entry["tolerance"]
        rtol, atol = tolerance["rtol"], tolerance["atol"]
        for pattern, special in tolerance.get("per_tensor", {}).items():
            if fnmatch(name, pattern):
                rtol, atol = special["rtol"], special["atol"]
        if isinstance(atol, str):
            atol = float(atol.split("*")[0]) * expected.abs().max().item()
        torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol, msg=lambda text: f"{name}: {text}")


def procedural(seed: int, mean: float, std: float, shape: list[int]) -> Tensor:
    """Weights from a hash of their flat index (the formula is in the manifest's conventions)."""
    x = (np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(seed * 1000003)) % np.uint64(2**32)
    for _ in range(2):
        x = ((x ^ (x >> np.uint64(16))) * np.uint64(73244475)) % np.uint64(2**32)
    x ^= x >> np.uint64(16)
    values = mean + (2 * (x.astype(np.float64) / 2**32) - 1) * 3**0.5 * std
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def fill(module: nn.Module, weights: dict[str, Tensor], names: dict[str, str]) -> None:
    """Load weights by released key; `names` maps our parameter names to released keys. Nothing may be left over."""
    module.load_state_dict({ours: weights[released] for ours, released in names.items()}, strict=True)
    assert set(names.values()) == set(weights)
