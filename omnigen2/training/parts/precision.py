"""Whether a processor computes in bfloat16 itself, or would only seem to."""

from collections.abc import Mapping
from typing import Any

import torch

from omnigen2.errors import UserError

INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16")
"""Of processors of x86 and ARM: any one of them multiplies bfloat16 numbers."""


class PrecisionError(UserError):
    """A precision that the processor does not have."""


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16, which are then faster than those of float32.

    True where this version of torch does not know its instructions.
    """
    found = _capabilities()
    return not found or any(found.get(name, False) for name in INSTRUCTIONS)


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse bfloat16 on a processor that would emulate it: slower than float32, and less exact.

    Args:
        precision: `trainer.precision`.
        device: Where the training runs.

    Raises:
        PrecisionError: If so.
    """
    if precision.startswith("bf16") and device.type == "cpu" and not multiplies_bfloat16():
        name = _capabilities().get("cpu_name") or "this processor"
        raise PrecisionError(
            f"trainer.precision is {precision}, but {name} has no instructions for bfloat16 (none of "
            f"{', '.join(INSTRUCTIONS)}) and would emulate it, slower than it computes in float32",
            "give --trainer.precision=32-true",
        )


def _capabilities() -> Mapping[str, Any]:
    return getattr(torch.cpu, "get_capabilities", dict)()
