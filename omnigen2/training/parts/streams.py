"""Streams of random numbers: each use of chance in training has a name, so that no two draw the same numbers."""

from enum import Enum
from typing import Literal

import numpy as np
import torch

Kind = Literal["numpy", "torch"]


class Stream(Enum):
    """What random numbers are for; the value says which library draws them, the stream's number, and its indices.

    The numbers of a stream are a function of a seed and its indices alone: how far other streams got does not matter.
    """

    TRAINING_TASKS = ("numpy", 0, ("rank", "step"))
    VALIDATION_TASKS = ("numpy", 1, ())
    EVALUATION_TASKS = ("numpy", 2, ())
    PROMPTS = ("numpy", 3, ("prompt",))
    TYPICAL_TEXTS = ("numpy", 4, ())
    TRAINING_EXCHANGES = ("numpy", 5, ("step", "rank"))
    EVALUATION_EXCHANGES = ("numpy", 6, ("exchange",))
    EVALUATION_LETTERS = ("numpy", 7, ())
    TRAINING_NOISE = ("torch", 0, ("rank", "batch"))
    EVALUATION_NOISE = ("torch", 1, ("rank", "batch"))
    STEP_NOISE = ("torch", 2, ("rank", "iteration", "part"))

    def numpy(self, seed: int, *indices: int) -> np.random.Generator:
        """A generator of a numpy stream.

        Args:
            seed: From 0 to 2^64 - 1.
            *indices: One number of at least 0 for each index of the stream.

        Raises:
            ValueError: If the stream is one of torch, or the indices are not those of the stream.
        """
        return np.random.default_rng(self._key("numpy", seed, indices))

    def torch(self, seed: int, *indices: int) -> torch.Generator:
        """The same for a stream of torch, on the host."""
        state = np.random.SeedSequence(self._key("torch", seed, indices)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0] >> 1))

    def _key(self, kind: Kind, seed: int, indices: tuple[int, ...]) -> tuple[int, ...]:
        own, number, names = self.value
        if own != kind or len(indices) != len(names):
            # the count matters: numpy fills up with zeros, so (3,) and (3, 0) would be one stream
            raise ValueError(f"{self.name} is a stream of {own} with indices {names}, asked for {kind} with {indices}")
        return (seed, number, *indices)
