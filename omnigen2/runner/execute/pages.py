"""Training on a CPU keeps the memory that its tensors were in, instead of giving it back and asking for it again."""

import ctypes
import logging
import os

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of settings of glibc's `mallopt`."""
LARGEST = 32 * 2**20
"""Bytes of a block that is taken from memory that is kept: the most that glibc lets be set."""
KEPT = 512 * 2**20
"""Bytes that are kept free at the end of that memory."""


def keep_pages() -> bool:
    """Let glibc keep freed memory; False where the environment sets this itself, or the C library is another one.

    By itself it gives large blocks back to the system when they are freed. The same tensors are made in every step, so
    the system would find and clear their pages again each time. No number depends on it.
    """
    own = any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    )
    try:
        library = ctypes.CDLL(None)
        if own or not hasattr(library, "gnu_get_libc_version"):
            return False
        return bool(library.mallopt(MMAP_THRESHOLD, LARGEST)) and bool(library.mallopt(TRIM_THRESHOLD, KEPT))
    except (OSError, TypeError, AttributeError):
        return False


class KeptPages(Callback):
    """Keeps freed memory in the process while it trains on a CPU; a host of accelerators is left as it is."""

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.strategy.root_device.type == "cpu" and keep_pages():
            words = "freed memory is kept for the next step (up to %d MiB at the end of the heap)"
            logging.getLogger("lightning.pytorch").info(words, KEPT // 2**20)
