"""Optimizers as parts of a recipe: the recipe names one by its class, the module hands it its parameters.

Numbers out of the ranges that the classes name are refused with a ValueError.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Muon, Optimizer
from typing_extensions import override

from omnigen2.training.parts.muon import StackedMuon

TRANSFORMER_BLOCKS = (r"(^|\.)(blocks|text_refiner|reference_refiner|noise_refiner)\.\d+\.",)
"""Where the repeated blocks of `omnigen2.dit.DiffusionTransformer` are found in the names of its parameters."""


class OptimizerRecipe(ABC):
    """Makes an optimizer for the parameters of a module."""

    @abstractmethod
    def build(self, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> Optimizer:
        """Make an optimizer that has every trainable parameter in exactly one group, each group with a `name`.

        Frozen ones are left out.

        Raises:
            ValueError: If there is nothing to train.
        """


@dataclass(frozen=True)
class AdamWRecipe(OptimizerRecipe):
    """AdamW for everything.

    Attributes:
        lr: The peak learning rate, above 0.
        betas: Decay rates of the two running means, each in [0, 1).
        weight_decay: Decoupled weight decay, at least 0.
        decay_vectors: Whether parameters with fewer than two axes (biases, gains of norms) decay too.
        eps: Added to the root of the second mean.
        fused: Whether one kernel updates all parameters. Norm clipping under `bf16-mixed` works all the same.

    Source: Loshchilov & Hutter, arXiv:1711.05101; the defaults of betas and decay are those of the official
        configurations.
    """

    lr: float
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    decay_vectors: bool = True
    eps: float = 1e-8
    fused: bool = False

    def __post_init__(self) -> None:
        _check(self.lr, self.weight_decay, self.betas)

    @override
    def build(self, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> AdamW:
        """Make the optimizer with one group, or, without decay of vectors, two."""
        parameters = [parameter for _, parameter in _trainable(named_parameters)]
        vectors = [parameter for parameter in parameters if parameter.ndim < 2 and not self.decay_vectors]
        others = [parameter for parameter in parameters if parameter.ndim >= 2 or self.decay_vectors]
        groups = [
            {"params": others, "weight_decay": self.weight_decay, "name": "adamw"},
            {"params": vectors, "weight_decay": 0.0, "name": "adamw_without_decay"},
        ]
        groups = [group for group in groups if group["params"]]
        optimizer = AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=self.fused)
        # Lightning refuses to clip where an optimizer undoes the loss scale itself; without this flag the scaler of
        # `16-mixed` undoes it before the step, and in bf16 there is none.
        optimizer._step_supports_amp_scaling = False  # pyright: ignore
        return optimizer


@dataclass(frozen=True)
class MuonAdamW(OptimizerRecipe):
    """Muon for the matrices of the transformer's blocks, AdamW for everything else.

    Embedders, the output layer, norms and biases go to AdamW. Muon's update is scaled to the root mean square of
    AdamW's, so that both take the same learning rate and the same decay.

    Attributes:
        lr: The peak learning rate of both, above 0.
        weight_decay: Decoupled weight decay of both, at least 0.
        momentum: Muon's, in [0, 1).
        betas: AdamW's.
        decay_vectors: Whether biases and gains of norms decay too.
        fused: Whether AdamW's part is one kernel.
        blocks: Regular expressions; a matrix whose name (as `named_parameters()` says it) one of them is found in
            goes to Muon.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); the scale is that of
        Liu et al., arXiv:2502.16982, eq. 4.
    """

    lr: float
    weight_decay: float = 0.01
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.95)
    decay_vectors: bool = True
    fused: bool = False
    blocks: Sequence[str] = TRANSFORMER_BLOCKS

    def __post_init__(self) -> None:
        _check(self.lr, self.weight_decay, (self.momentum, *self.betas))

    @override
    def build(self, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> Optimizer:
        """Make one optimizer, Muon's group first.

        Raises:
            ValueError: If no trainable matrix is in a block.
        """
        named = list(_trainable(named_parameters))
        matrices = [(name, parameter) for name, parameter in named if self._is_hidden(name, parameter)]
        if not matrices:
            raise ValueError(
                f"no trainable matrix has a name in which one of {list(self.blocks)} is found, so that Muon would get "
                f"nothing; the first names are {[name for name, _ in named[:3]]}: set `blocks`, or use AdamWRecipe"
            )
        groups = [{"params": [parameter for _, parameter in matrices], "name": "muon"}]
        if any(isinstance(parameter, DTensor) for _, parameter in matrices):
            muon = Muon(groups, self.lr, self.weight_decay, self.momentum, adjust_lr_fn="match_rms_adamw")
        else:
            muon = StackedMuon(groups, self.lr, self.weight_decay, self.momentum)
        rest = [(name, parameter) for name, parameter in named if not self._is_hidden(name, parameter)]
        adamw = AdamWRecipe(self.lr, self.betas, self.weight_decay, self.decay_vectors, fused=self.fused)
        return CombinedOptimizer([muon, adamw.build(rest)] if rest else [muon])

    def _is_hidden(self, name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim == 2 and any(re.search(pattern, name) for pattern in self.blocks)


class CombinedOptimizer(Optimizer):
    """Several optimizers that look like one: to schedulers, to checkpoints and to Lightning.

    It shares its groups and its state with the parts, so that whatever is written here reaches them.

    Args:
        parts: At least one; no parameter in two of them. They are used through this object alone from now on.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self._parts: list[Optimizer] = []
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._parts = list(parts)
        self._sizes = [len(part.param_groups) for part in parts]
        self._share()

    @property
    def parts(self) -> tuple[Optimizer, ...]:
        """The optimizers that it consists of; to look at, not to step."""
        return tuple(self._parts)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    @override
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuse a further group: no part would own it.

        Raises:
            ValueError: Once the optimizer is built.
        """
        if self._parts:
            raise ValueError("a combined optimizer takes no further groups; build it from all trainable parameters")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Let every part take a step; the closure is called once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def _share(self) -> None:
        start = 0
        for part, size in zip(self._parts, self._sizes, strict=True):
            part.state = self.state
            part.param_groups = self.param_groups[start : start + size]
            start += size


def _trainable(named_parameters: Iterable[tuple[str, nn.Parameter]]) -> list[tuple[str, nn.Parameter]]:
    named = {id(parameter): (name, parameter) for name, parameter in named_parameters if parameter.requires_grad}
    if not named:
        raise ValueError("there are no trainable parameters to optimize; unfreeze some")
    return list(named.values())


def _check(lr: float, weight_decay: float, decays: Sequence[float]) -> None:
    if not lr > 0 or not weight_decay >= 0:
        raise ValueError(f"lr must be above 0 and weight_decay at least 0, got {lr} and {weight_decay}")
    if not all(0 <= decay < 1 for decay in decays):
        raise ValueError(f"betas and momentum must be in [0, 1), got {decays}")
