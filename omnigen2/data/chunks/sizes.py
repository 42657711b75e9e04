"""The sizes of all samples of a folder of chunks, in one file beside them."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int8, Int32, Int64
from safetensors import SafetensorError, safe_open

from omnigen2.data.samples import TASKS, DataError, SampleSizes, Task
from omnigen2.files import save_tensors

SIZES_FILE = "samples.safetensors"
FORMAT = "omnigen2 samples 2"
ARRAYS = ("tasks", "text_tokens", "targets", "references", "borders")


@dataclass(frozen=True)
class SizeTable:
    """Task and sizes of each sample, as arrays.

    Attributes:
        tasks: Position in `TASKS`.
        text_tokens: At most this many text tokens.
        targets: (height, width) in pixels; (0, 0) without a target.
        references: (height, width) of all references, sample by sample.
        borders: Where the references of each sample start, and at the end their number.
    """

    tasks: Int8[np.ndarray, " samples"]
    text_tokens: Int32[np.ndarray, " samples"]
    targets: Int32[np.ndarray, "samples 2"]
    references: Int32[np.ndarray, "references 2"]
    borders: Int64[np.ndarray, " borders"]

    @classmethod
    def of(cls, tasks: Sequence[Task], sizes: Sequence[SampleSizes]) -> "SizeTable":
        """The table of samples, given the task and the sizes of each."""
        references = [size for sample in sizes for size in sample.references]
        return cls(
            np.array([TASKS.index(task) for task in tasks], dtype=np.int8),
            np.array([sample.text_tokens for sample in sizes], dtype=np.int32),
            np.array([sample.target or (0, 0) for sample in sizes], dtype=np.int32).reshape(-1, 2),
            np.array(references, dtype=np.int32).reshape(-1, 2),
            np.array(list(accumulate((len(s.references) for s in sizes), initial=0)), dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.tasks)

    def task(self, index: int) -> Task:
        """Task of one sample."""
        return TASKS[int(self.tasks[index])]

    def __getitem__(self, index: int) -> SampleSizes:
        start, end = int(self.borders[index]), int(self.borders[index + 1])
        references = tuple((int(height), int(width)) for height, width in self.references[start:end])
        height, width = (int(side) for side in self.targets[index])
        return SampleSizes(int(self.text_tokens[index]), references, (height, width) if height else None)

    def save(self, folder: Path) -> None:
        """Write the table into a folder of chunks."""
        arrays: dict[str, np.ndarray] = {name: getattr(self, name) for name in ARRAYS}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        kind = {"format": FORMAT, "tasks": " ".join(TASKS), "checksum": _checksum(arrays)}
        save_tensors(tensors, folder / SIZES_FILE, kind)

    @classmethod
    def load(cls, folder: Path) -> "SizeTable":
        """Read the table of a folder of chunks.

        Raises:
            DataError: If the file is missing, damaged, or of another format.
        """
        file = folder / SIZES_FILE
        if not file.is_file():
            raise DataError(
                f"{folder} has no {SIZES_FILE}: it was not written by `omnigen2 data optimize`, or not to the end; "
                "write it again"
            )
        try:
            with safe_open(file, "np") as opened:
                kind = opened.metadata() or {}
                if kind.get("format") != FORMAT or kind.get("tasks") != " ".join(TASKS):
                    raise DataError(f"{file} has the metadata {kind}, expected format {FORMAT!r}; write it again")
                arrays = {name: opened.get_tensor(name) for name in ARRAYS}
        except (SafetensorError, OSError) as error:
            raise DataError(f"{file} is damaged ({error}); copy it anew or write it again") from error
        wrong = _fault(arrays) or ("" if kind.get("checksum") == _checksum(arrays) else "its checksum is wrong")
        if wrong:
            raise DataError(f"{file} is damaged ({wrong}); copy it anew or write it again")
        return cls(**arrays)


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    """Of all numbers of a table."""
    return str(zlib.crc32(b"".join(arrays[name].tobytes() for name in ARRAYS)))


def _fault(arrays: dict[str, np.ndarray]) -> str:
    """How the arrays of a table do not fit one another, empty if they do."""
    tasks, text_tokens, targets, references, borders = (arrays[name] for name in ARRAYS)
    samples = tasks.size
    expected = {
        "tasks": (np.int8, (samples,)),
        "text_tokens": (np.int32, (samples,)),
        "targets": (np.int32, (samples, 2)),
        "references": (np.int32, (references.size // 2, 2)),
        "borders": (np.int64, (samples + 1,)),
    }
    for name, (kind, shape) in expected.items():
        if arrays[name].dtype != kind or arrays[name].shape != shape:
            found = f"{arrays[name].dtype} and shape {arrays[name].shape}"
            return f"{name} is of type {found}, expected {np.dtype(kind)} and {shape}"
    if not ((tasks >= 0) & (tasks < len(TASKS))).all():
        return f"a task is none of the {len(TASKS)} there are"
    if borders[0] != 0 or borders[-1] != len(references) or (np.diff(borders) < 0).any():
        return "the borders of references are not in order"
    if min(text_tokens.min(initial=0), targets.min(initial=0), references.min(initial=1) - 1) < 0:
        return "a size is negative"
    return "" if ((targets > 0).all(1) | (targets == 0).all(1)).all() else "a target has one side of 0"
