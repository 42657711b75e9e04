"""`resume.json`: which checkpoint of a run counts, and how much of `metrics.csv` belongs to it."""

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy, Strategy

from omnigen2.errors import UserError
from omnigen2.files import read_object, write_json
from omnigen2.runner.keep.metrics import CsvLogger

REMEDY = "put it back as it was, or start over with --restart, which deletes the run"
SHARDED = "meta.pt"
"""What is written last of a folder of shards: all that is in it besides the shards."""


@dataclass(frozen=True)
class Pointer:
    """What `resume.json` holds.

    Attributes:
        checkpoint: The name of the file, or folder, beside it.
        rows: Of `metrics.csv`; later ones are of steps that will be taken again.
        step: Optimizer steps so far.
        losses: The last ones, which a run that is shorter than the interval of its loggers writes nowhere else.
    """

    checkpoint: str
    rows: int
    step: int
    losses: Mapping[str, float] = field(default_factory=dict[str, float])

    def write(self, folder: Path) -> None:
        """Replace the one in the folder of a run, at once."""
        write_json(_file(folder), asdict(self))


def read_pointer(folder: Path) -> Pointer | None:
    """Read the one in the folder of a run; None if the run has no checkpoint yet.

    Raises:
        UserError: If it is damaged.
    """
    if not _file(folder).exists():
        return None
    fields = read_object(_file(folder), remedy=REMEDY)
    losses = fields.object("losses").values if fields.has("losses") else {}
    return Pointer(fields.text("checkpoint"), fields.whole("rows", low=0), fields.whole("step", low=0), losses)


def committed_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint from which the run in a folder continues; None if there is none yet.

    Raises:
        UserError: If `resume.json` is damaged.
    """
    pointer = read_pointer(folder)
    return None if pointer is None else _file(folder).parent / pointer.checkpoint


def roll_back(folder: Path) -> tuple[Path, int] | None:
    """Bring the folder of a run to the state of its last checkpoint: later metrics and half-written files go.

    Returns:
        The checkpoint and its step, or None if the run has to start from the beginning.

    Raises:
        UserError: If something of the run is missing or damaged; then nothing was deleted.
    """
    pointer = read_pointer(folder)
    checkpoint = _file(folder).parent / pointer.checkpoint if pointer else None
    if checkpoint is not None:
        check_whole(checkpoint)
    logger = CsvLogger(folder)
    if pointer is not None and logger.rows < pointer.rows:
        raise UserError(
            f"{logger.path} has {logger.rows} rows, but the checkpoint was made after {pointer.rows}", REMEDY
        )
    for other in _file(folder).parent.glob("resume-*.ckpt"):
        if other != checkpoint:
            delete(other)
    if pointer is None or checkpoint is None:
        logger.path.unlink(missing_ok=True)
        return None
    logger.keep(pointer.rows)
    return checkpoint, pointer.step


def check_whole(checkpoint: Path) -> None:
    """Look whether a checkpoint can be read, without reading what is large.

    Raises:
        UserError: If it is missing, cut off, or holds what is not loaded for safety.
    """
    if not checkpoint.exists():
        raise UserError(f"{_file(checkpoint.parent.parent)} names {checkpoint.name}, which is not there", REMEDY)
    if checkpoint.is_file() and not zipfile.is_zipfile(checkpoint):
        raise UserError(f"{checkpoint} is no whole checkpoint", REMEDY)
    if found := unsafe(checkpoint):
        raise UserError(
            f"{checkpoint} holds {', '.join(found)}, which are not loaded from a file, for safety",
            "allow them with torch.serialization.add_safe_globals([…]) in the file of your module, or start over with "
            "--restart",
        )


def unsafe(checkpoint: Path) -> list[str]:
    """What a checkpoint holds besides tensors and plain values, so that it would not be loaded."""
    file = checkpoint / SHARDED if checkpoint.is_dir() else checkpoint
    return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file)) if file.is_file() else []


def check_strategy(checkpoint: Path | None, strategy: Strategy) -> None:
    """Refuse a folder of shards for a strategy that reads files; there may be no checkpoint.

    Raises:
        UserError: If it is one.
    """
    shards = (ModelParallelStrategy, FSDPStrategy, DeepSpeedStrategy)
    if checkpoint is not None and checkpoint.is_dir() and not isinstance(strategy, shards):
        raise UserError(
            f"{checkpoint} is a folder of shards, which {type(strategy).__name__} cannot read",
            "go on with the strategy that wrote it, such as ModelParallelStrategy, which also one process can use",
        )


def delete(checkpoint: Path) -> None:
    """Delete a checkpoint, be it a file or (when it is sharded) a folder."""
    if checkpoint.is_dir():
        shutil.rmtree(checkpoint)
    else:
        checkpoint.unlink(missing_ok=True)


def _file(folder: Path) -> Path:
    return folder / "checkpoints" / "resume.json"
