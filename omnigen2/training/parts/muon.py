"""Muon for many small matrices: those of one shape are orthogonalised together."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# (torch has no public operations on lists of tensors)

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Muon
from typing_extensions import override

STACK = 2**22
"""Elements of the matrices that are orthogonalised at once, which bounds what a step needs beside the state."""


class StackedMuon(Muon):
    """torch's Muon with `match_rms_adamw` and Nesterov momentum, bit for bit, in far fewer operations.

    Its state is that of torch's, so that either goes on with a checkpoint of the other. It takes no sharded parameters.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, weight_decay: float, momentum: float) -> None:
        super().__init__(groups, lr, weight_decay, momentum, adjust_lr_fn="match_rms_adamw")

    @override
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameters in _stacks(group["params"]):
                self._update(parameters, group)
        return loss

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        means = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        lr, momentum = float(group["lr"]), group["momentum"]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        updates = torch.stack(torch._foreach_lerp(gradients, means, momentum)).bfloat16()
        updates = orthogonalised(updates, group["ns_coefficients"], group["ns_steps"], group["eps"])
        torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        scale = 0.2 * max(updates.shape[1:]) ** 0.5
        torch._foreach_add_(parameters, updates.unbind(), alpha=-lr * scale)


def orthogonalised(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Bring the singular values of each matrix, shape (matrices, rows, columns), near 1 by Newton-Schulz steps.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); in bfloat16 as there.
    """
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    matrices = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = torch.bmm(matrices.mT, matrices) if tall else torch.bmm(matrices, matrices.mT)
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        left, right = (matrices, factor) if tall else (factor, matrices)
        matrices = torch.baddbmm(matrices, left, right, beta=a)
    return matrices


def _stacks(parameters: list[nn.Parameter]) -> Iterator[list[Tensor]]:
    """Parameters with a gradient that are updated together: of one shape, and not too many."""
    alike: defaultdict[Any, list[Tensor]] = defaultdict(list)
    for parameter in parameters:
        if parameter.grad is not None:
            alike[parameter.shape, parameter.dtype, parameter.device].append(parameter)
    for (shape, *_), members in alike.items():
        size = max(1, STACK // shape.numel())
        yield from (members[start : start + size] for start in range(0, len(members), size))
