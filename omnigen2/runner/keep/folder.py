"""The folder of a run: who may write in it."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from omnigen2.errors import UserError

LOCK = ".run.lock"  # it also marks the folder as ours: nothing is deleted in a folder without it
CONFIG = "config.yaml"
STAGES = "stages.yaml"
"""In the folder of several stages, in place of `config.yaml`."""
REMEDY = "--restart deletes it and starts over; --out FOLDER writes elsewhere"


def claim(folder: Path) -> None:
    """Make a folder for a run, or make sure that it is one.

    Raises:
        UserError: If it has files that no run has made, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; the output needs a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LOCK).exists():
        raise UserError(f"{folder} has files that no run has made; choose an empty or new folder with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LOCK).touch()
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror}",
            "check the permissions, or choose another folder with --out",
        ) from error


@contextmanager
def locked(folder: Path, patience: float = 0.0) -> Generator[None]:
    """Hold a folder, made if need be, for this process alone; the system frees it when the process ends in any way.

    Args:
        patience: Seconds to wait for another process to let go.

    Raises:
        UserError: If another process holds the folder.
    """
    claim(folder)
    deadline = time.monotonic() + patience
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    file.seek(0)
                    raise UserError(
                        f"{folder} is in use by process {file.read().strip() or 'unknown'}; wait for it, stop it, "
                        "or choose another folder with --out"
                    ) from error
                time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def start_over(folder: Path, say: Callable[[str], None]) -> None:
    """Empty the folder of a run, held by this process, and say what was deleted."""
    if deleted := emptied(folder):
        say(f"starting over: deleted {', '.join(deleted)} in {folder}")


def emptied(folder: Path) -> list[str]:
    """Delete everything except the lock in the folder of a run, held by this process; return the sorted names."""
    entries = sorted(entry for entry in folder.iterdir() if entry.name != LOCK)
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return [entry.name for entry in entries]
