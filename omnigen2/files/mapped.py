"""Files that are worked out of while they are mapped: what is read are pages of the file, not copies."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch

from omnigen2.errors import UserError
from omnigen2.files.weights import WeightsError, named, read_header


class Stamp(NamedTuple):
    """A file at some time.

    Attributes:
        which: Device and inode.
        size: In bytes.
        changed: When it was written to last, in nanoseconds.
    """

    which: tuple[int, int]
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """The file as it is now.

        Raises:
            OSError: If there is none.
        """
        status = path.stat()
        return cls((status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns)

    def written_over(self, path: Path) -> "Stamp | None":
        """How the file is now if it was written to in place since then; None if not.

        A file that was deleted, or that another has taken the place of by renaming, was not: its pages live on as long
        as somebody uses them.
        """
        try:
            now = Stamp.of(path)
        except FileNotFoundError:
            return None
        return now if now.which == self.which and now != self else None


class MappedFiles:
    """Remembers files of weights, to tell when one was written over while a model works out of it.

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
        self._seen: dict[Path, Stamp] = {path.absolute(): Stamp.of(path) for path in mapped}
        self._error = error

    def check(self) -> None:
        """Look at the files again.

        Raises:
            UserError: If one was written over in place.
        """
        for path, stamp in self._seen.items():
            if stamp.written_over(path):
                raise self._error(
                    f"{path} was written over while a model works out of it: its weights are no longer those that "
                    "were loaded",
                    "load the model again, and give a new file its name by renaming",
                )
