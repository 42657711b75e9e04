"""What goes wrong around a training, told without a traceback: refused settings, a full disk, too little memory."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors import SafetensorError
from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.runner.keep import committed_checkpoint

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MEMORY = ("DefaultCPUAllocator", "CUDA out of memory", "can't allocate memory", "not enough memory")
WRITER = ("iostream error", "PytorchStreamWriter failed", "unexpected pos", "file write failed")
"""What torch says of a file that it could not write."""
WHERE = "--verbose shows where"


class Started(Callback):
    """Knows whether training has begun: what is refused before is a setting, what fails later is not."""

    def __init__(self) -> None:
        self.started = False

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = True


@contextmanager
def told(folder: Path, training: Started) -> Generator[None]:
    """Turn what stops a run in a folder, and is no fault of the code, into an error for the user.

    Yields:
        Nothing.

    Raises:
        UserError: If the system or Lightning refuses something, or a class its settings before training begins.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if (reason := _reason(error, folder, training)) is None:
            raise
        raise reason from error


def _reason(error: Exception, folder: Path, training: Started) -> UserError | None:
    """What to tell of an error; None if it is a fault of the code, of which the traceback is wanted."""
    first = next(iter(str(error).splitlines()), type(error).__name__)
    match error:
        case OSError() | SafetensorError():
            return _refused_by_the_system(error, folder)
        case MisconfigurationException():
            return UserError(str(error), f"(Lightning refuses these settings; {WHERE})")
        case RuntimeError() if any(words in str(error) for words in WRITER):
            return _no_room(first, folder)
        case MemoryError() | torch.OutOfMemoryError():
            return _no_memory(first, folder)
        case RuntimeError() if any(words in str(error) for words in MEMORY):
            return _no_memory(first, folder)
        case RuntimeError() if _said_by_lightning(error):
            return UserError(first, f"(a callback of Lightning refuses what was logged; {WHERE})")
        case ValueError() if not training.started:
            return UserError(str(error), f"(ValueError before training began; {WHERE})")
        case _:
            return None


def _said_by_lightning(error: Exception) -> bool:
    """Whether a callback of Lightning has raised an error, such as one that monitors what is not logged."""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1]).startswith("lightning.pytorch.callbacks")


def _no_memory(words: str, folder: Path) -> UserError:
    return UserError(
        f"there is not enough memory: {words}",
        "make batches smaller (such as data.init_args.budget.tokens), compute activations again "
        f"(model.init_args.transformer.checkpointing), or use more devices\n{_goes_on(folder)}; {WHERE}",
    )


def _refused_by_the_system(error: OSError | SafetensorError, folder: Path) -> UserError:
    number = error.errno if isinstance(error, OSError) else None
    words = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    file = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
    if number in NO_ROOM or "os error 28" in words or "os error 27" in words:
        return _no_room(f"{words}{file}", folder)
    return UserError(f"the system refuses a file ({words}{file})", f"{_goes_on(folder)}; {WHERE}")


def _no_room(words: str, folder: Path) -> UserError:
    return UserError(f"a file could not be written whole ({words})", f"make room in {folder}; {_goes_on(folder)}")


def _goes_on(folder: Path) -> str:
    kept = committed_checkpoint(folder)
    return "then the same command starts anew" if kept is None else f"then the same command goes on from {kept}"
