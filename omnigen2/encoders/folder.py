"""Looking into model folders before a library does."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError


def check_folder(folder: str | Path, needed: str, local_files_only: bool = True) -> None:
    """Refuse a folder that cannot be a model folder, before anything could look for it on the network.

    Args:
        folder: Path of the folder.
        needed: A file it must have.
        local_files_only: Whether a name that is no folder is an error.

    Raises:
        FileNotFoundError: If the folder or the file is missing.
    """
    path = Path(folder)
    if path.is_dir():
        if not (path / needed).is_file():
            raise FileNotFoundError(f"{path} has no {needed}; expected a model folder written by save_pretrained")
    elif local_files_only:
        raise FileNotFoundError(
            f"there is no folder {path}; give the folder of a downloaded model (nothing is downloaded unless "
            "local_files_only=False)"
        )


@contextmanager
def loading(folder: str | Path) -> Generator[None]:
    """Say what to do about a folder that a library cannot load.

    Args:
        folder: Path of the folder.

    Yields:
        To the library.

    Raises:
        OutOfMemoryError: As it comes.
        ValueError: If a file is missing or broken, or the weights have other shapes than the config says.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        reason = reason if len(reason) <= 300 else f"{reason[:300]}…"
        raise ValueError(
            f"{folder} cannot be loaded ({reason}); is the download complete, and are config.json and weights of one "
            "model?"
        ) from error
