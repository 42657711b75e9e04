"""The state of a run besides its weights: all random number generators, and the running means of an epoch's metrics.

Both are tensors and plain values, which a safe checkpoint can hold and processes can exchange.
"""

import io
import random
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer

from omnigen2.runner.keep.lightning_private import epoch_results

Values = dict[str, dict[str, Any]]


def random_states() -> dict[str, Any]:
    """The states of all generators of this process (of several GPUs the current one's), for a safe checkpoint."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [],
        "numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Set the states of all random number generators to what `random_states` returned."""
    torch.set_rng_state(states["torch"])
    for state in states["cuda"] if torch.cuda.is_available() else ():
        torch.cuda.set_rng_state(state)
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, following = states["python"]
    random.setstate((version, tuple(internal), following))


def of_all_processes(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Exchange a state (tensors and plain values, nested) between all processes, each of which must call this.

    Returns:
        The state of every process, by rank; of this one alone if it is the only one.
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


def running_values(trainer: Trainer) -> Values:
    """What the metrics of this epoch have gathered: of each its name, its value and, for a mean, the samples."""
    return {
        key: {"name": metric.meta.forked_name(on_step=False)}
        | {state: getattr(metric, state).detach().clone() for state in _states(metric)}
        for key, metric in epoch_results(trainer).items()
        if metric.is_tensor and metric.meta.on_epoch and metric.update_called  # in this epoch
    }


def add_running_values(trainer: Trainer, values: Values) -> Values:
    """Add what was gathered before a restart, as `running_values` read it, to the metrics that have been logged since.

    Returns:
        Those values whose metric has not been logged yet.
    """
    results = epoch_results(trainer)
    for key in values.keys() & results.keys():
        metric, before = results[key], values[key]
        value = before["value"].to(metric.value.device)
        if metric.meta.is_max_reduction or metric.meta.is_min_reduction:
            metric.value = metric.meta.reduce_fx(value, metric.value)
        else:
            metric.value = value + metric.value
        if metric.meta.is_mean_reduction:
            count = before["cumulated_batch_size"].to(metric.value.device)
            metric.cumulated_batch_size = count + metric.cumulated_batch_size
    return {key: value for key, value in values.items() if key not in results}


def log_running_values(pl_module: LightningModule, values: Values) -> None:
    """Log what `add_running_values` left over when the epoch ends; in the hook `on_train_epoch_end`."""
    for kept in values.values():
        value = kept["value"] / kept["cumulated_batch_size"] if "cumulated_batch_size" in kept else kept["value"]
        pl_module.log(kept["name"], value, on_step=False, on_epoch=True, batch_size=1)


def _states(metric: Any) -> tuple[str, ...]:
    return ("value", "cumulated_batch_size") if metric.meta.is_mean_reduction else ("value",)
