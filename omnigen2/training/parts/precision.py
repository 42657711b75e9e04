"""Trainings in bfloat16 need a processor that computes in it itself, and does not only seem to."""

import torch

from omnigen2.encoders import INSTRUCTIONS, multiplies_bfloat16, processor_capabilities
from omnigen2.errors import UserError


class PrecisionError(UserError):
    """A precision that the processor does not have."""


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse bfloat16 on a processor that would emulate it: slower than float32, and less exact.

    Args:
        precision: `trainer.precision`.
        device: Where the training runs.

    Raises:
        PrecisionError: If so.
    """
    if precision.startswith("bf16") and device.type == "cpu" and not multiplies_bfloat16():
        name = processor_capabilities().get("cpu_name") or "this processor"
        raise PrecisionError(
            f"trainer.precision is {precision}, but {name} has no instructions for bfloat16 (none of "
            f"{', '.join(INSTRUCTIONS)}) and would emulate it, slower than it computes in float32",
            "give --trainer.precision=32-true",
        )
