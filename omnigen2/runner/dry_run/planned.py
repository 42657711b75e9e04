"""What a step costs, known before any data are read: for dry runs."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol, cast, runtime_checkable

from lightning.pytorch import Trainer
from torch.optim import Optimizer

from omnigen2.layout import Layout


@runtime_checkable
class PlansLayouts(Protocol):
    """Data that can say what a full batch of one process looks like."""

    def planned_layout(self) -> Layout:
        """A batch of about the most tokens, made without reading data."""
        ...


@runtime_checkable
class ChecksData(Protocol):
    """A module that knows what data it cannot take."""

    def check_data(self, data: object) -> None:
        """Refuse data with a `UserError`, as far as they are known without being opened."""
        ...


@runtime_checkable
class PlansWork(Protocol):
    """A module that can say how much work an optimizer step is."""

    def tokens_per_step(self) -> int | None:
        """Tokens of all processes of its trainer; None if the data cannot say."""
        ...

    def flops_per_step(self) -> int | None:
        """Floating-point operations of all processes, without recomputation; None if the data cannot say."""
        ...


@runtime_checkable
class PlansMemory(Protocol):
    """A module that can say what a step needs on its device beside parameters, gradients and optimizer."""

    def memory_of_step(self) -> Mapping[str, int] | None:
        """Bytes by name, all at the same time: activations, frozen models; None if data or files cannot say."""
        ...


@runtime_checkable
class StoredOtherwise(Protocol):
    """A parameter that takes other memory than its type and number tell, such as a quantised one."""

    stored_bytes: int


@runtime_checkable
class KeepsCopies(Protocol):
    """A callback that keeps float32 copies of the trainable parameters."""

    copies: int
    """How many."""


@runtime_checkable
class ComputesAgain(Protocol):
    """A module that forgets activations of some of its blocks and computes them again."""

    checkpointing: Collection[str]
    """Names of the groups of blocks."""


@runtime_checkable
class HasParts(Protocol):
    """An optimizer that consists of others."""

    parts: tuple[Optimizer, ...]


def planned_batches(trainer: Trainer) -> tuple[Layout, int] | None:
    """The plan of one batch, and how many batches an optimizer step has: processes times accumulation.

    None if the data of the trainer cannot say.
    """
    attached = cast(Any, trainer)
    if not isinstance(attached.datamodule, PlansLayouts):
        return None
    batches: int = attached.num_devices * attached.num_nodes * attached.accumulate_grad_batches
    return attached.datamodule.planned_layout(), batches
