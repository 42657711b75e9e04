"""What a recipe would build and cost, in numbers, without training it: no weights, no data, no GPU are needed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import nn
from torch.optim import Optimizer

from omnigen2.errors import UserError
from omnigen2.files import markdown_table
from omnigen2.runner.dry_run.cluster import ON_ONE_CPU, Cluster
from omnigen2.runner.dry_run.estimates import ASSUMED, Memory, Speed, memory_of, usual_gpu
from omnigen2.runner.dry_run.planned import ChecksData, ComputesAgain, KeepsCopies, PlansMemory, PlansWork
from omnigen2.runner.keep import OPTIMIZER_ARGUMENT, WEIGHTS, attach, count
from omnigen2.runner.plan import Config
from omnigen2.runner.recipe import building


def describe(config: Config, speed: Speed = ASSUMED) -> str:
    """Build the trainer, the model and the data of a recipe, and describe them.

    What a module makes in `configure_model` is made on the meta device, where parameters have sizes and no numbers, and
    the trainer is built for one CPU, so that a laptop can describe what a cluster trains.

    Returns:
        A table of parameters by child, the memory of one device, and the work and time of a step and of all steps. If
        weights that the recipe starts from do not exist yet, the text says so and, where they are needed to know the
        sizes, ends there.

    Raises:
        UserError: If a class refuses its arguments.
    """
    if config.seed is not None:
        seed_everything(config.seed, workers=True, verbose=False)
    with building():
        trainer, model, data = config.build(
            lambda callbacks, loggers: {**ON_ONE_CPU, "callbacks": callbacks, "logger": False}
        )
    attach(trainer, model, data)
    source = config.values["model" if data is None else "data"]["class_path"]
    lines = [f"model {config.values['model']['class_path']}, data {source}"]
    missing = _missing_weights(config)
    if missing:
        lines.append(f"described without {' and '.join(missing)}, which would be read and do not exist yet")
    if unknown := _configure(model, may_fail=bool(missing)):
        return "\n".join([*lines, f"nothing more is known yet: {unknown}"])
    lines += _data_checked(model, data)
    cluster = Cluster.of(config.values["trainer"])
    return "\n".join(
        [*lines, parameter_table(model), memory(trainer, model, cluster), *work(trainer, model, cluster, speed)]
    )


def parameter_table(model: LightningModule) -> str:
    """Count parameters: a line per child of the model and one for all."""
    part, prefix = _widest(model)
    own = [parameter for _, parameter in part.named_parameters(recurse=False)]
    lines = [_line(f"{prefix}{name}", list(child.parameters())) for name, child in part.named_children()]
    lines += [_line(f"{prefix}(its own)", own)] if own else []
    lines.append(_line("all", list(model.parameters())))
    return markdown_table(["part", "parameters", "trainable"], lines)


def memory(trainer: Trainer, model: LightningModule, cluster: Cluster) -> str:
    """Estimate the memory of one device in one line: without what depends on the batch, unless the model says it."""
    callbacks: Sequence[Any] = trainer.callbacks  # pyright: ignore
    averages = sum(callback.copies for callback in callbacks if isinstance(callback, KeepsCopies))
    try:
        optimizers, trouble = _optimizers(model), ""
    except (RuntimeError, AttributeError, OSError) as error:
        optimizers, trouble = [], f"; without the optimizer, which cannot be built yet ({error})"
    beside = model.memory_of_step() if isinstance(model, PlansMemory) else None
    whole = memory_of(model, optimizers, averages, cluster.bytes_per_weight, beside)
    head = f"memory: {_sum(whole)}{trouble}"
    if cluster.devices > 1:
        match cluster.shards:
            case None:
                head = f"memory of all together: {_sum(whole)}{trouble}; how {cluster.strategy} shares it is not known"
            case 1:
                head = f"memory of each of {cluster.words}, on which {cluster.strategy} copies it: "
                head += f"{_sum(whole)}{trouble}"
            case shards:
                head = f"memory of each of {cluster.words}, {shards:,} of which share it ({cluster.strategy}): "
                whole = whole.shared_by(shards)
                head += f"{_sum(whole)}{trouble}"
    return f"{head}. {_not_counted(model, cluster) if beside is None else _fits(whole, cluster)}"


def work(trainer: Trainer, model: LightningModule, cluster: Cluster, speed: Speed) -> list[str]:
    """Estimate the arithmetic of a step, and the time of all; no line if model or data do not plan their work."""
    if not isinstance(model, PlansWork):
        return []
    tokens, flops = model.tokens_per_step(), model.flops_per_step()
    if tokens is None or flops is None:
        return []
    each = f"{tokens:,} tokens and {flops / 1e12:.4g} TFLOPs"
    tokens, flops = tokens * cluster.devices, flops * cluster.devices
    together = "" if cluster.devices == 1 else f" on each of {cluster.words}, together {tokens:,} tokens and "
    together += f"{flops / 1e12:.4g} TFLOPs" if together else ""
    lines = [f"work of a step: {each}{together}. Forward and backward pass of the transformer, full batches."]
    if trainer.max_steps > 0:
        steps = trainer.max_steps
        line = f"{steps:,} steps: {steps * tokens:.4g} tokens, {float(steps * flops):.4g} FLOPs"
        if cluster.accelerator != "cpu":
            duration = _duration(speed.seconds(steps * flops, cluster.devices))
            line += (
                f"; about {duration} on {cluster.words}, {speed} (--mfu and --peak_tflops say otherwise). Frozen "
                "encoders, activations that are computed again, validation and waiting for data come on top"
            )
        lines.append(f"{line}.")
    return lines


def _data_checked(model: LightningModule, data: object) -> list[str]:
    # in a line, if there are none yet; whatever is wrong with those that are there is an error
    if not isinstance(model, ChecksData):
        return []
    try:
        model.check_data(data)
    except UserError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        return [f"described without data: {error.message}"]
    return []


def _configure(model: LightningModule, may_fail: bool) -> str:
    # from sizes; returns what it lacks, in one line, or nothing
    try:
        with building(), torch.device("meta"):
            model.configure_model()
    except FileNotFoundError as error:
        return str(error)
    except UserError as error:
        if not may_fail:
            raise
        return str(error).splitlines()[0]
    return ""


def _missing_weights(config: Config) -> list[str]:
    settings: dict[str, Any] = config.values["model"].get("init_args") or {}
    paths = [settings.get(name) for name in (WEIGHTS, OPTIMIZER_ARGUMENT)]
    return [path for path in paths if isinstance(path, str) and not Path(path).exists()]


def _widest(model: nn.Module) -> tuple[nn.Module, str]:
    """Go down as long as one child has all parameters."""
    part, prefix = model, ""
    while len(children := [(n, c) for n, c in part.named_children() if any(True for _ in c.parameters())]) == 1:
        if any(True for _ in part.parameters(recurse=False)) or not list(children[0][1].children()):
            break
        prefix += f"{children[0][0]}."
        part = children[0][1]
    return part, prefix


def _optimizers(model: LightningModule) -> list[Optimizer]:
    found = model.configure_optimizers()
    parts = [*found.values()] if isinstance(found, dict) else [*found] if isinstance(found, Sequence) else [found]
    flat = [inner for part in parts for inner in (part if isinstance(part, (list, tuple)) else [part])]
    return [part for part in flat if isinstance(part, Optimizer)]


def _sum(memory: Memory) -> str:
    parts = [f"weights {_size(memory.weights)}", f"gradients {_size(memory.gradients)}"]
    parts += [f"{name} {_size(value)}" for name, value in memory.states.items()] or ["no optimizer"]
    parts += [f"moving average {_size(memory.averages)}"] if memory.averages else []
    parts += [f"{name} {_size(value)}" for name, value in memory.beside.items()]
    guess = f" (guessed as two states per parameter for {', '.join(memory.guessed)})" if memory.guessed else ""
    return f"{' + '.join(parts)}{guess} = {_size(memory.total)}"


def _fits(memory: Memory, cluster: Cluster) -> str:
    gpu = usual_gpu(memory.total)
    fits = "no usual GPU holds that" if gpu is None else f"it fits a GPU of {gpu} GB"
    told = "" if cluster.accelerator == "cpu" else f"; {fits}"
    return f"What stands behind the optimizer is an estimate for a full batch{told}."


def _not_counted(model: LightningModule, cluster: Cluster) -> str:
    again = sorted({str(g) for m in model.modules() if isinstance(m, ComputesAgain) for g in m.checkpointing})
    sharded = cluster.devices > 1 and cluster.shards != 1
    words = "Activations are not counted"
    words += f" (those of {', '.join(again)} are computed again and not kept)" if again else ""
    words += ", nor are blocks while they are gathered" if sharded else ""
    return f"{words}."


def _line(name: str, parameters: list[nn.Parameter]) -> list[str]:
    return [name, f"{count(parameters):,}", f"{count(parameters, trainable=True):,}"]


def _size(count: int) -> str:
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = min(int(math.log(count, 1024)), len(units) - 1) if count else 0
    return f"{count / 1024**power:.4g} {units[power]}"


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 0.1 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} seconds"
