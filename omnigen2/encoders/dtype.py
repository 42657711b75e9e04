"""Which number formats the encoders run in."""

import torch


def check_dtype(dtype: torch.dtype, what: str) -> None:
    """Refuse number formats in which the released weights fail.

    Args:
        dtype: The format asked for.
        what: Who asks, for the message.

    Raises:
        ValueError: If it is neither float32 nor bfloat16 (float64 is allowed for tests). float16 overflows in the
            FLUX VAE and gives black pictures.
    """
    if dtype not in (torch.float32, torch.bfloat16, torch.float64):
        raise ValueError(f"{what} cannot run in {dtype}; use torch.bfloat16 or torch.float32")
