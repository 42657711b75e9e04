"""Weights that are pages of files: read ahead, and given back while nobody computes with them."""

import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from torch import Tensor

WILL_NEED, DO_NOT_NEED, POPULATE_READ = 3, 4, 22
"""Advice of `madvise` on Linux; the last one since 5.14."""
PRESENT, SWAPPED, OF_FILE = (np.uint64(1 << bit) for bit in (63, 62, 61))
"""Bits of an entry of /proc/self/pagemap."""
PAGEMAP = Path("/proc/self/pagemap")
ENTRY = 8


def drop(tensors: Iterable[Tensor]) -> int:
    """Give back the memory of pages that hold nothing but what their file holds; they are read again when looked at.

    The system keeps them as cache of the file as long as memory is plenty. Pages that were written into, and memory
    that is no file's, stay as they are; so does everything on systems that do not tell which pages those are.

    Returns:
        Bytes of the pages.
    """
    if not PAGEMAP.exists():
        return 0
    given = 0
    with suppress(OSError), PAGEMAP.open("rb", buffering=0) as told:
        for start, end in _ranges(tensors):
            told.seek(start * ENTRY)
            flags = np.frombuffer(told.read((end - start) * ENTRY), np.uint64)
            clean = (flags & (PRESENT | SWAPPED | OF_FILE)) == (PRESENT | OF_FILE)
            edges = np.flatnonzero(np.diff(clean, prepend=False, append=False))
            for first, last in edges.reshape(-1, 2).tolist():
                _advise(start + first, start + last, DO_NOT_NEED)
                given += (last - first) * mmap.PAGESIZE
    return given


def read_ahead(tensors: Iterable[Tensor]) -> None:
    """Let the system read what is not in memory yet, while something else goes on."""
    for start, end in _ranges(tensors):
        _advise(start, end, WILL_NEED)


def read_now(tensors: Iterable[Tensor]) -> None:
    """Have pages at hand at once, rather than one after the other when they are first looked at."""
    for start, end in _ranges(tensors):
        _advise(start, end, POPULATE_READ)


def _ranges(tensors: Iterable[Tensor]) -> Iterator[tuple[int, int]]:
    """First page and the one behind the last, of the memory of tensors on the host; those that touch are one."""
    size = mmap.PAGESIZE
    places = [(one.data_ptr(), one.data_ptr() + one.nbytes) for one in tensors if one.device.type == "cpu"]
    joined: list[list[int]] = []
    for start, end in sorted((start // size, -(-end // size)) for start, end in places if start != end):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(end, joined[-1][1])
        else:
            joined.append([start, end])
    return ((start, end) for start, end in joined)


def _advise(start: int, end: int, advice: int) -> None:
    """Tell Linux about pages, by their numbers; advice that it does not know is no matter.

    Raises:
        OSError: If it fails otherwise.
    """
    if sys.platform != "linux":
        return
    size = mmap.PAGESIZE
    call = ctypes.CDLL(None, use_errno=True).madvise
    if call(ctypes.c_void_p(start * size), ctypes.c_size_t((end - start) * size), advice):
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOMEM, errno.EAGAIN, errno.EBADF):
            raise OSError(number, os.strerror(number))
