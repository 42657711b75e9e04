"""What training costs, estimated from sizes alone: memory of one device, and time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn
from torch.optim import Optimizer

from omnigen2.runner.dry_run.planned import HasParts, StoredOtherwise
from omnigen2.runner.keep import count

STATES_PER_PARAMETER = {
    "Adam": 2, "AdamW": 2, "NAdam": 2, "RAdam": 2, "Adamax": 2, "Adadelta": 2, "Adagrad": 1, "RMSprop": 1, "Lion": 1,
    "SGD": 0, "Muon": 1,
}  # fmt: skip
AVERAGE_BYTES = 4
"""Of a parameter in a moving average, which is float32."""

GPUS = (8, 12, 16, 24, 32, 40, 48, 80, 96, 141, 180)
ROOM = 0.95
"""Share of it that is left by the driver, and by memory in pieces that nothing fits into."""


@dataclass(frozen=True)
class Speed:
    """How fast devices are taken to be.

    Attributes:
        mfu: Share of the peak that training reaches, in (0, 1]; the default is an assumption. Model FLOPs utilization
            after Chowdhery et al., arXiv:2204.02311, appendix B.
        peak_flops: Operations per second of one device at best; the default is an H100 (SXM) in bfloat16 without
            sparsity, from NVIDIA's data sheet.
    """

    mfu: float = 0.4
    peak_flops: float = 989e12

    def __post_init__(self) -> None:
        if not 0 < self.mfu <= 1 or not 0 < self.peak_flops < float("inf"):
            raise ValueError(f"expected mfu in (0, 1] and peak_flops above 0, got {self.mfu} and {self.peak_flops}")

    @classmethod
    def of(cls, mfu: float | None, peak_tflops: float | None) -> "Speed":
        """The defaults, where nothing else is known; `peak_tflops` is of one device, in 10^12 operations per second."""
        known = {"mfu": mfu, "peak_flops": None if peak_tflops is None else peak_tflops * 1e12}
        return cls(**{name: value for name, value in known.items() if value is not None})

    def seconds(self, flops: float, devices: int) -> float:
        """Seconds that `flops` operations take on so many devices together.

        Raises:
            ValueError: If there is no device.
        """
        if devices < 1:
            raise ValueError(f"expected devices >= 1, got {devices}")
        return flops / (devices * self.mfu * self.peak_flops)

    def __str__(self) -> str:
        what = "an H100's" if self.peak_flops == Speed.peak_flops else "their"
        return f"if they reach {self.mfu:.0%} of {what} {self.peak_flops / 1e12:.0f} TFLOP/s"


ASSUMED = Speed()


@dataclass(frozen=True)
class Memory:
    """Bytes on a device.

    Attributes:
        gradients: Of the trainable parameters.
        states: Of the optimizers, by their names.
        averages: Of the moving averages.
        guessed: Optimizers that are not known, counted with two states per parameter.
        beside: What the module says that a step needs beside these, by name: activations, frozen models.
    """

    weights: int
    gradients: int
    states: Mapping[str, int]
    averages: int
    guessed: tuple[str, ...]
    beside: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def total(self) -> int:
        """All of it."""
        own = self.weights + self.gradients + sum(self.states.values()) + self.averages
        return own + sum(self.beside.values())

    def shared_by(self, shards: int) -> "Memory":
        """The part of one device if `shards` share one copy: rounded up, without what uneven parts need on top."""
        states = {name: _share(value, shards) for name, value in self.states.items()}
        whole = (self.weights, self.gradients, self.averages)
        weights, gradients, averages = (_share(value, shards) for value in whole)
        return Memory(weights, gradients, states, averages, self.guessed, self.beside)


def memory_of(
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    averages: int = 0,
    bytes_per_weight: int | None = None,
    beside: Mapping[str, int] | None = None,
) -> Memory:
    """Count the memory of training on one device that holds everything; the model may be on `meta`.

    Args:
        model: On any device.
        optimizers: Of the model. Their states have the type of the parameters.
        averages: Number of moving averages, in float32.
        bytes_per_weight: Of a parameter in training; None for what it has.
        beside: What a step needs beside these, by name.
    """

    def size(parameters: Sequence[nn.Parameter]) -> int:
        return sum(
            each.stored_bytes
            if isinstance(each, StoredOtherwise)
            else each.numel() * (bytes_per_weight or each.element_size())
            for each in parameters
        )

    parameters = list(model.parameters())
    trainable = [each for each in parameters if each.requires_grad]
    states: Counter[str] = Counter()
    parts = [part for optimizer in optimizers for part in parts_of(optimizer)]
    for part in parts:
        owned = [each for group in part.param_groups for each in group["params"] if each.requires_grad]
        states[_kind(part)] += size(owned) * STATES_PER_PARAMETER.get(_kind(part), 2)
    return Memory(
        weights=size(parameters),
        gradients=size(trainable),
        states=dict(states),
        averages=averages * AVERAGE_BYTES * count(trainable),
        guessed=tuple(sorted(states.keys() - STATES_PER_PARAMETER.keys())),
        beside=beside or {},
    )


def usual_gpu(total: int) -> int | None:
    """The smallest memory of a usual GPU, in GB as they are sold, that so many bytes fit into; None if none."""
    return next((size for size in GPUS if total <= ROOM * size * 2**30), None)


def parts_of(optimizer: Optimizer) -> tuple[Optimizer, ...]:
    """The optimizers of which one consists; itself, if it has no parts."""
    return optimizer.parts if isinstance(optimizer, HasParts) else (optimizer,)


def _kind(optimizer: Optimizer) -> str:
    """The optimizer that is known, if one derives from it."""
    names = [kind.__name__ for kind in type(optimizer).__mro__]
    return next((name for name in names if name in STATES_PER_PARAMETER), names[0])


def _share(value: int, shards: int) -> int:
    return -(-value // shards)
