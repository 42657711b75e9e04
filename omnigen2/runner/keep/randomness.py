"""The states of all random number generators, in a form that a safe checkpoint can hold."""

import io
import random
from typing import Any

import numpy as np
import torch
import torch.distributed as dist


def random_states() -> dict[str, Any]:
    """Return the states of all random number generators of this process, as tensors and plain numbers.

    Of several GPUs it is the current one's generator that counts.

    Returns:
        What `set_random_states` takes; it loads with `torch.load(weights_only=True)`.
    """
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [],
        "numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Set the states of all random number generators.

    Args:
        states: What `random_states` returned.
    """
    torch.set_rng_state(states["torch"])
    for state in states["cuda"]:
        torch.cuda.set_rng_state(state)
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, following = states["python"]
    random.setstate((version, tuple(internal), following))


def of_all_processes(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Exchange a state between all processes that train together; every process must call it.

    Args:
        state: Tensors and plain values of this process, in lists and dictionaries.

    Returns:
        The state of every process, by rank; of this process alone if it is the only one.
    """
    if not dist.is_initialized():
        return [state]
    buffer = io.BytesIO()
    torch.save(state, buffer)
    device = torch.device("cuda" if "nccl" in dist.get_backend() else "cpu")
    content = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8).to(device)
    sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor([len(content)], device=device))
    lengths = [int(size) for size in sizes]
    padded = torch.zeros(max(lengths), dtype=torch.uint8, device=device)
    padded[: len(content)] = content
    contents = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(contents, padded)
    return [
        torch.load(io.BytesIO(other[:length].cpu().numpy().tobytes()), map_location="cpu", weights_only=True)
        for other, length in zip(contents, lengths, strict=True)
    ]
