"""What a recipe would build, in numbers, without training it."""

import math
from collections.abc import Sequence

from lightning.pytorch import LightningModule, seed_everything
from torch import nn
from torch.optim import Optimizer

from omnigen2.training.config import Config
from omnigen2.training.report import markdown_table
from omnigen2.training.run import building

STATES_PER_PARAMETER = {
    "Adam": 2, "AdamW": 2, "NAdam": 2, "RAdam": 2, "Adamax": 2, "Adadelta": 2, "Adagrad": 1, "RMSprop": 1, "Lion": 1,
    "SGD": 0, "Muon": 1,
}  # fmt: skip


def describe(config: Config) -> str:
    """Build the trainer, the model and the data of a recipe, and describe them.

    Args:
        config: The checked recipe.

    Returns:
        A table of parameters by child, and the memory for weights, gradients and optimizer.
    """
    if config.seed is not None:
        seed_everything(config.seed, workers=True, verbose=False)
    with building():
        trainer, model, data = config.build(lambda callbacks, loggers: {"callbacks": callbacks, "logger": False})
    model.trainer = trainer
    trainer.strategy.connect(model)  # so that the model may ask its trainer how long the run is
    trainer._data_connector.attach_data(model, datamodule=data)  # pyright: ignore[reportPrivateUsage]
    source = type(model if data is None else data)
    return "\n".join(
        [
            f"model {type(model).__module__}.{type(model).__qualname__}, "
            f"data {source.__module__}.{source.__qualname__}",
            parameter_table(model),
            memory(model),
        ]
    )


def parameter_table(model: LightningModule) -> str:
    """Count parameters by child of the model.

    Args:
        model: The model.

    Returns:
        A table with a line per child and one for all.
    """
    part, prefix = _widest(model)
    own = [parameter for _, parameter in part.named_parameters(recurse=False)]
    lines = [_line(f"{prefix}{name}", list(child.parameters())) for name, child in part.named_children()]
    lines += [_line(f"{prefix}(its own)", own)] if own else []
    lines.append(_line("all", list(model.parameters())))
    return markdown_table(["part", "parameters", "trainable"], lines)


def memory(model: LightningModule) -> str:
    """Estimate the memory of training, without what depends on the batch.

    Args:
        model: The model.

    Returns:
        One line.
    """
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    gradients = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    try:
        optimizers = _optimizers(model)
    except (RuntimeError, AttributeError) as error:
        return (
            f"memory: weights {_size(weights)}, gradients {_size(gradients)}; the optimizer cannot be built without "
            f"a trainer ({error}). Activations are not counted."
        )
    names = ", ".join(type(optimizer).__name__ for optimizer in optimizers)
    unknown = [type(o).__name__ for o in optimizers if type(o).__name__ not in STATES_PER_PARAMETER]
    states = sum(
        p.numel() * p.element_size() * STATES_PER_PARAMETER.get(type(o).__name__, 2)
        for o in optimizers
        for group in o.param_groups
        for p in group["params"]
        if p.requires_grad
    )
    guess = f" (guessed as two states per parameter for {', '.join(unknown)})" if unknown else ""
    return (
        f"memory: weights {_size(weights)} + gradients {_size(gradients)} + {names or 'no optimizer'} {_size(states)}"
        f"{guess} = {_size(weights + gradients + states)}. Activations are not counted."
    )


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


def _line(name: str, parameters: list[nn.Parameter]) -> list[str]:
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return [name, f"{sum(parameter.numel() for parameter in parameters):,}", f"{trainable:,}"]


def _size(count: int) -> str:
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = min(int(math.log(count, 1024)), len(units) - 1) if count else 0
    return f"{count / 1024**power:.4g} {units[power]}"
