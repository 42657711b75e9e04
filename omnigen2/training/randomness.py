"""The states of all random number generators, in a form that a safe checkpoint can hold."""

import random
from typing import Any

import numpy as np
import torch


def random_states() -> dict[str, Any]:
    """Return the states of all random number generators, as tensors and plain numbers.

    Returns:
        What `set_random_states` takes; it loads with `torch.load(weights_only=True)`.
    """
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Set the states of all random number generators.

    Args:
        states: What `random_states` returned.
    """
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, following = states["python"]
    random.setstate((version, tuple(internal), following))
