"""Settings that several commands share: which model works where, and what size and seed pictures have."""

import sys
from collections.abc import Generator as Yields
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import torch
from typing_extensions import override

from omnigen2.adapters import ScaledAdapter
from omnigen2.commands.options import Parser, note
from omnigen2.encoders import PromptRules, VAEMemory
from omnigen2.errors import UserError, user_errors
from omnigen2.generate import (
    Estimate,
    Generator,
    Job,
    ModelFolder,
    Offload,
    Placement,
    Progress,
    Sampling,
    Way,
    check_adapters,
    check_room,
    default_dtype,
    estimate,
    number_format,
    planner_of,
    said_sampling,
)
from omnigen2.quantize import Quantization

DType: TypeAlias = Literal["bfloat16", "float32"]
DTYPES: dict[DType, torch.dtype] = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which model works where.

    Attributes:
        model: Model folder in the released layout.
        lora: LoRA adapter, DIR or DIR:0.7 with its strength; may be repeated.
        device: Such as cpu, cuda or cuda:1 (default: cuda if there is one).
        dtype: Of the weights (default: bfloat16; on the CPU float32, unless the files are in bfloat16 and it has
            instructions for that, or float32 does not fit).
        offload: What waits in the host's memory while others work: with idle the VLM and the VAE, with stages whatever
            model has nothing to do (in the pages of its files), with blocks also the blocks that have nothing to do.
        vae_memory: With tiled, large pictures are encoded and decoded in overlapping tiles.
        vlm_sees_images: Show the references to the VLM too.
        quantize: The weights of the blocks of transformer and VLM in 8 or 4 bits: less memory, and other pictures.
    """

    model: Path
    lora: tuple[str, ...] = ()
    device: str | None = None
    dtype: DType | None = None
    offload: Offload = "none"
    vae_memory: VAEMemory = "one_by_one"
    vlm_sees_images: bool = False
    quantize: Quantization = "none"

    @property
    def numbers(self) -> str:
        """What pictures call the number format, see `settled`."""
        return number_format(DTYPES[self.dtype], self.quantize) if self.dtype else ""

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


class DrawingParser(Parser):
    """Where neither the command line nor a job file says how pictures are drawn, the model folder does."""

    @override
    def settings(self, words: Sequence[str]) -> Any:
        found = super().settings(words)
        model = found.model.model if isinstance(found.model, ModelSettings) else found.model
        if model is None or not (said := said_sampling(model)):
            return found
        self.set_defaults(said)
        self.options |= {name: replace(self.options[name], default=value) for name, value in said.items()}
        return super().settings(words)


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


def settled(settings: ModelSettings) -> ModelSettings:
    """The same with a number format; a note tells where it is not the one that others would expect."""
    device = device_of(settings.device)
    folder = ModelFolder(settings.model)
    Placement(folder, device, dtype_of(settings.dtype, device), settings.offload, settings.quantize)  # refuses pairs
    if settings.dtype is not None:
        return settings
    dtype, reason = default_dtype(folder, device, settings.offload, settings.vae_memory, quantize=settings.quantize)
    if reason:
        note(reason)
    return replace(settings, dtype="bfloat16" if dtype is torch.bfloat16 else "float32")


def dtype_of(dtype: DType | None, device: torch.device) -> torch.dtype:
    """The number format of the weights: the one asked for, or the default of the device."""
    return DTYPES[dtype or ("float32" if device.type == "cpu" else "bfloat16")]


def needed(settings: ModelSettings, jobs: Sequence[Job], way: Way | None = None) -> Estimate:
    """What drawing jobs together will need.

    Args:
        settings: With a number format, see `settled`.
        jobs: They share their sampling; of none, only weights count.
        way: As the settings say if None.
    """
    way = _way(settings) if way is None else way
    folder, sampling = ModelFolder(settings.model), jobs[0].sampling if jobs else Sampling()
    plans = [planner_of(folder)(job.request) for job in jobs]
    device = device_of(settings.device)
    return estimate(folder, plans, sampling, way.dtype, way.offload, way.vae_memory, device, way.quantize)


def load_generator(settings: ModelSettings, jobs: Sequence[Job] = ()) -> Generator:
    """Load a model with its adapters, if it fits, without progress bars of other libraries.

    Args:
        settings: Which model, and where.
        jobs: Those that are drawn together and need most.
    """
    from transformers.utils import logging

    cast(Any, logging).disable_progress_bar()
    settings = settled(settings)
    device, adapters = device_of(settings.device), settings.adapters
    check_adapters(ModelFolder(settings.model), [adapter.path for adapter in adapters])
    check_room(lambda way: needed(settings, jobs, way), _way(settings), device)
    with user_errors():
        generator = Generator.from_folder(
            settings.model,
            dtype=dtype_of(settings.dtype, device),
            device=device,
            offload=settings.offload,
            vae_memory=settings.vae_memory,
            rules=settings.rules,
            quantize=settings.quantize,
        )
    for adapter in adapters:
        generator.load_lora(adapter.path, adapter.scale)
    return generator


def _way(settings: ModelSettings) -> Way:
    dtype = dtype_of(settings.dtype, device_of(settings.device))
    return Way(dtype, settings.offload, settings.vae_memory, settings.quantize)


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
