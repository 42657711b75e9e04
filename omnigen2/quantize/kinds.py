"""Which kinds of small weights there are, and what each one needs."""

from importlib.util import find_spec
from typing import Literal, TypeAlias

import torch

from omnigen2.errors import UserError, check_choice

Quantization: TypeAlias = Literal["none", "int8", "float8", "nf4"]
"""Of each row in 8 bits: whole numbers, or numbers of 3 binary digits and an exponent; or 4 bits, in groups of 64."""
PACKAGES = {"int8": "torchao", "float8": "torchao", "nf4": "bitsandbytes"}
ADA = (8, 9)
"""The first compute capability of CUDA whose kernels multiply in float8."""


def check_quantization(
    kind: Quantization, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> None:
    """Refuse a kind that cannot be had here, before a model is loaded.

    Args:
        kind: Of the weights.
        device: Where the model is to work.
        dtype: Of its other weights and of its states, if it is known.

    Raises:
        UserError: If its package is not installed, or the device or the dtype are none that it works with.
    """
    check_choice("quantize", kind, Quantization)
    if kind == "none":
        return
    if find_spec(PACKAGES[kind]) is None:
        raise UserError(
            f"{kind} weights need the package {PACKAGES[kind]}, which is not installed",
            'pip install "omnigen2[quantize]"',
        )
    if kind == "float8" and torch.device(device).type == "cuda":
        if (found := torch.cuda.get_device_capability(device)) < ADA:
            raise UserError(
                f"float8 weights need a GPU of compute capability 8.9 or more, {device} has {found[0]}.{found[1]}",
                "take int8, which works on every device",
            )
        if dtype not in (None, torch.bfloat16):
            raise UserError(f"float8 weights on a GPU work with bfloat16, got {dtype}", "leave the dtype out")
