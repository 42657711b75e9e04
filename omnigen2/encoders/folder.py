"""Looking into model folders before a library does, and the number formats that their weights work in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16")
"""Of processors of x86 and ARM: any one of them multiplies bfloat16 numbers."""


def check_folder(folder: str | Path, needed: str) -> None:
    """Refuse a folder that cannot be a model folder, before anything could look for it on the network.

    Raises:
        FileNotFoundError: If the folder is missing, or a file that it must have.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(
            f"there is no folder {path}; give the folder of a downloaded model (nothing is downloaded)"
        )
    if not (path / needed).is_file():
        raise FileNotFoundError(f"{path} has no {needed}; expected a model folder written by save_pretrained")


def check_dtype(dtype: torch.dtype, what: str) -> None:
    """Refuse number formats in which the released weights fail: float16 overflows in the FLUX VAE, black pictures.

    Raises:
        ValueError: If it is neither float32 nor bfloat16 (float64 is allowed for tests); `what` says who asks.
    """
    if dtype not in (torch.float32, torch.bfloat16, torch.float64):
        raise ValueError(f"{what} cannot run in {dtype}; use torch.bfloat16 or torch.float32")


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16, which are then faster than those of float32.

    True where this version of torch does not know its instructions.
    """
    found = processor_capabilities()
    return not found or any(found.get(name, False) for name in INSTRUCTIONS)


def processor_capabilities() -> Mapping[str, Any]:
    """What torch knows of this processor; nothing in earlier versions."""
    return getattr(torch.cpu, "get_capabilities", dict)()
