"""Settings that several commands share: which model works where, and what size and seed pictures have."""

import sys
from collections.abc import Generator as Yields
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import torch

from omnigen2.adapters import ScaledAdapter
from omnigen2.encoders import PromptRules, VAEMemory
from omnigen2.errors import UserError, user_errors
from omnigen2.generate import Generator, ModelFolder, Offload, Progress, check_adapters

DType: TypeAlias = Literal["bfloat16", "float32"]
DTYPES: dict[DType, torch.dtype] = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which model works where.

    Attributes:
        model: Model folder in the released layout.
        lora: LoRA adapter, DIR or DIR:0.7 with its strength; may be repeated.
        device: Such as cpu, cuda or cuda:1 (default: cuda if there is one).
        dtype: Of the weights (default: bfloat16, on the CPU float32).
        offload: With idle, the VLM and the VAE wait in the host's memory.
        vae_memory: With tiled, large pictures are encoded and decoded in overlapping tiles.
        vlm_sees_images: Show the references to the VLM too.
    """

    model: Path
    lora: tuple[str, ...] = ()
    device: str | None = None
    dtype: DType | None = None
    offload: Offload = "none"
    vae_memory: VAEMemory = "one_by_one"
    vlm_sees_images: bool = False

    @property
    def adapters(self) -> tuple[ScaledAdapter, ...]:
        """What `lora` says."""
        return tuple(map(ScaledAdapter.parse, self.lora))

    @property
    def rules(self) -> PromptRules:
        """How prompts become tokens."""
        return PromptRules(sees="text_and_images" if self.vlm_sees_images else "text")


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """What pictures are like that are drawn.

    Attributes:
        height: In pixels, a multiple of 16 for the released model (default: that of the only image, or 1024).
        width: In pixels; together with the height.
        seed: The same seed gives the same picture (default: drawn).
    """

    height: int | None = None
    width: int | None = None
    seed: int | None = None


def device_of(name: str | None) -> torch.device:
    """Where models work, tried out: the device of that name, or the best there is.

    Raises:
        UserError: If there is no such device, or this machine or this torch cannot use it.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise UserError(f"there is no device {name!r}", "use cpu, cuda or cuda:1") from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter if torch was built without the device
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the device {device} cannot be used here ({reason})", "use --device cpu, or one there is"
        ) from error
    return device


def dtype_of(dtype: DType | None, device: torch.device) -> torch.dtype:
    """The number format of the weights: the one asked for, or the default of the device."""
    return DTYPES[dtype or ("float32" if device.type == "cpu" else "bfloat16")]


def load_generator(settings: ModelSettings) -> Generator:
    """Load a model with its adapters, without progress bars of other libraries."""
    from transformers.utils import logging

    cast(Any, logging).disable_progress_bar()
    device, adapters = device_of(settings.device), settings.adapters
    check_adapters(ModelFolder(settings.model), [adapter.path for adapter in adapters])
    with user_errors():
        generator = Generator.from_folder(
            settings.model,
            dtype=dtype_of(settings.dtype, device),
            device=device,
            offload=settings.offload,
            vae_memory=settings.vae_memory,
            rules=settings.rules,
        )
    for adapter in adapters:
        generator.load_lora(adapter.path, adapter.scale)
    return generator


@contextmanager
def progress_bar(total: int, what: str) -> Yields[Progress]:
    """A bar on the terminal over the steps of all batches, from the first step on; nothing where there is no terminal.

    Args:
        total: Steps of all batches.
        what: In front of the bar.

    Yields:
        To be told after each step of a batch.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(file=sys.stderr)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn())
    bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(what, total=total)

    def tell(done: int, of: int) -> None:
        del done, of
        bar.start()
        bar.advance(task)

    try:
        yield tell
    finally:
        bar.stop()
