"""The running means of an epoch's metrics, which Lightning does not put into its checkpoints.

Lightning keeps what `self.log(…, on_epoch=True)` has gathered in this epoch in a private collection.
This module alone looks into it.
"""

from typing import Any

from lightning.pytorch import LightningModule, Trainer

Values = dict[str, dict[str, Any]]


def running_values(trainer: Trainer) -> Values:
    """Read what the metrics of the running training epoch have gathered so far.

    Args:
        trainer: In the middle of an epoch.

    Returns:
        Per metric its name, its value so far (a sum, a maximum, …) and for a mean the number of samples.
    """
    results = trainer.fit_loop.epoch_loop._results  # pyright: ignore[reportPrivateUsage]
    return {
        key: {"name": metric.meta.forked_name(on_step=False)}
        | {state: getattr(metric, state).detach().clone() for state in _states(metric)}
        for key, metric in results.items()
        if metric.is_tensor and metric.meta.on_epoch and metric.update_called  # in this epoch
    }


def add_running_values(trainer: Trainer, values: Values) -> Values:
    """Add what was gathered before a restart to the metrics that have been logged since.

    Args:
        trainer: In the middle of the same epoch, after at least one batch.
        values: What `running_values` returned before the restart.

    Returns:
        Those values whose metric has not been logged yet.
    """
    results = trainer.fit_loop.epoch_loop._results  # pyright: ignore[reportPrivateUsage]
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
    """Log those metrics that were not logged again before the epoch ended.

    Args:
        pl_module: The module, in the hook `on_train_epoch_end`.
        values: What `add_running_values` left over.
    """
    for kept in values.values():
        value = kept["value"] / kept["cumulated_batch_size"] if "cumulated_batch_size" in kept else kept["value"]
        pl_module.log(kept["name"], value, on_step=False, on_epoch=True, batch_size=1)


def _states(metric: Any) -> tuple[str, ...]:
    return ("value", "cumulated_batch_size") if metric.meta.is_mean_reduction else ("value",)
