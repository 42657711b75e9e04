"""Files that models work out of: their weights are pages of the file, not copies."""

from collections.abc import Iterable
from pathlib import Path

import torch

from omnigen2.errors import UserError
from omnigen2.files.weights import WeightsError, named, read_header

Stamp = tuple[tuple[int, int], tuple[int, int]]
"""Which file it is (device and inode), and how it is (size in bytes, time of the last change in nanoseconds)."""


class MappedFiles:
    """Remembers files of weights, to tell when one was written over while a model works out of it.

    A file that is deleted, or that another takes the place of by renaming, is none of those: its pages live on as
    long as somebody uses them.

    Args:
        paths: Safetensors files. Those that hold nothing of the type are read into memory of their own, and not
            remembered.
        dtype: Of the model.
        error: What is raised.

    Raises:
        UserError: If a file cannot be read.
    """

    def __init__(self, paths: Iterable[Path], dtype: torch.dtype, error: type[UserError] = WeightsError) -> None:
        mapped = (path for path in paths if any(one.dtype == named(dtype) for one in read_header(path, error).values()))
        self._seen: dict[Path, Stamp] = {path.absolute(): _stamp(path) for path in mapped}
        self._error = error

    def check(self) -> None:
        """Look at the files again.

        Raises:
            UserError: If one was written over in place.
        """
        for path, (which, how) in self._seen.items():
            try:
                now = _stamp(path)
            except FileNotFoundError:  # its pages live on
                continue
            if now[0] == which and now[1] != how:
                raise self._error(
                    f"{path} was written over while a model works out of it: its weights are no longer those that "
                    "were loaded",
                    "load the model again, and give a new file its name by renaming",
                )


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return (status.st_dev, status.st_ino), (status.st_size, status.st_mtime_ns)
