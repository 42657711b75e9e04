"""The folder of a run: who may write in it."""

import fcntl
import os
import platform
import shutil
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import yaml

from omnigen2.errors import UserError

LOCK = ".run.lock"  # it also marks the folder as ours: nothing is deleted in a folder without it
CONFIG = "config.yaml"
REMEDY = "--restart deletes it and starts over; --out FOLDER writes elsewhere"


def claim(folder: Path) -> None:
    """Make a folder for a run, or make sure that it is one.

    Raises:
        UserError: If it has files that no run has made, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; the output needs a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LOCK).exists():
        raise UserError(
            f"{folder} has files that no run has made; choose an empty or new folder with --out",
            f"(if it is the copy of a run, copy the file {LOCK} too)",
        )
    with _refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LOCK).touch()


def check_apart(folder: Path) -> None:
    """Refuse a new folder inside of another run's, which would delete it with its own.

    Raises:
        UserError: If it is one.
    """
    around = [parent for parent in folder.absolute().parents if (parent / LOCK).exists()]
    if around and not (folder / LOCK).exists():
        raise UserError(
            f"{folder} lies in {around[0]}, the folder of another run, whose --restart would delete it",
            "choose another folder with --out",
        )


@contextmanager
def locked(folder: Path, patience: float = 0.0) -> Generator[None]:
    """Hold a folder, made if need be, for this process alone; the system frees it when the process ends in any way.

    A file system that keeps no locks is said once, and the folder is used without one.

    Args:
        patience: Seconds to wait for another process to let go.

    Raises:
        UserError: If another process holds the folder, or it cannot be written.
    """
    claim(folder)
    deadline = time.monotonic() + patience
    with ExitStack() as held:
        with _refusals(folder):
            file = held.enter_context((folder / LOCK).open("a+", encoding="utf-8"))
            while not _taken(file, folder):
                if time.monotonic() >= deadline:
                    file.seek(0)
                    raise UserError(
                        f"{folder} is in use by process {file.read().strip() or 'unknown'}; wait for it, stop it, "
                        "or choose another folder with --out"
                    )
                time.sleep(0.1)
            file.truncate(0)
            file.write(f"{os.getpid()} on {platform.node()}")
            file.flush()
        yield


def settings_of(folder: Path) -> dict[str, Any] | None:
    """The settings that a run, or several, were begun with in a folder; None if none were.

    Raises:
        UserError: If `config.yaml` is damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        return None
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)  # noqa: S506 (a safe one)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {' '.join(str(error).split())}", REMEDY) from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: it holds no settings", REMEDY)
    return found


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


@contextmanager
def _refusals(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror}",
            "check the permissions, or choose another folder with --out",
        ) from error


def _taken(file: TextIO, folder: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # of a network file system, for example
        warnings.warn(
            f"the file system of {folder} keeps no locks ({error.strerror}): see to it that no other command writes "
            "there at the same time",
            stacklevel=4,
        )
    return True
