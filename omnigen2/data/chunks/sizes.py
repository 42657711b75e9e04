"""The sizes of all samples of a folder of chunks, in one file beside them; a large one is mapped and not read."""

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int8, Int16, Int32, Int64
from safetensors import SafetensorError, safe_open
from typing_extensions import override

from omnigen2.data.samples import BLOCK, TASKS, DataError, Envelope, SampleSizes, SizeColumns, Task
from omnigen2.files import Stamp, save_tensors

SIZES_FILE = "samples.safetensors"
FORMAT = "omnigen2 samples 3"
CHECKED = 4096
"""Samples whose sizes have a checksum together."""
KINDS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "tasks": (np.int8, ()),
    "text_tokens": (np.int32, ()),
    "text_bytes": (np.int32, ()),
    "targets": (np.int32, (2,)),
    "counts": (np.int16, ()),
    "references": (np.int32, (2,)),
    "starts": (np.int64, ()),
    "checksums": (np.int64, ()),
}
DAMAGED = "copy it anew or write it again"


@dataclass(frozen=True)
class SizeTable:
    """Task and sizes of each sample, as arrays that lie in the file, or in memory up to `BLOCK` samples.

    What is asked for is checked when it is first read, `CHECKED` samples at a time, and again if the file was touched.

    Attributes:
        file: What messages call it.
        tasks: Position in `TASKS`.
        text_tokens: At most this many text tokens.
        text_bytes: UTF-8 bytes of instruction and answer after Unicode composition.
        targets: (height, width) in pixels; (0, 0) without a target.
        counts: Number of references.
        references: (height, width) of all references, sample by sample.
        starts: References before each `CHECKED` samples, and at the end their number.
        checksums: Of each `CHECKED` samples.
        envelope: What no sample exceeds.
        most_bytes: No sample has more `text_bytes`.
    """

    file: Path
    tasks: Int8[np.ndarray, " samples"]
    text_tokens: Int32[np.ndarray, " samples"]
    text_bytes: Int32[np.ndarray, " samples"]
    targets: Int32[np.ndarray, "samples 2"]
    counts: Int16[np.ndarray, " samples"]
    references: Int32[np.ndarray, "references 2"]
    starts: Int64[np.ndarray, " starts"]
    checksums: Int64[np.ndarray, " blocks"]
    envelope: Envelope
    most_bytes: int
    _sound: bytearray = field(repr=False)
    _mapped: list[Stamp] = field(default_factory=list[Stamp], repr=False)

    def __len__(self) -> int:
        return len(self.tasks)

    @override
    def __reduce__(self) -> Any:
        return SizeTable.load, (self.file.parent,)

    def task(self, index: int) -> Task:
        """Task of one sample."""
        self._look()
        self._check(index // CHECKED)
        return TASKS[int(self.tasks[index])]

    def task_counts(self) -> dict[Task, int]:
        """How many samples there are of each task; all sizes are checked."""
        counts = np.zeros(len(TASKS), dtype=np.int64)
        for samples, _ in self.slices():
            counts += np.bincount(self.tasks[samples], minlength=len(TASKS))
        return {task: count for task, count in zip(TASKS, counts.tolist(), strict=True) if count}

    def __getitem__(self, index: int) -> SampleSizes:
        one = self.columns(np.array([index]))
        references = tuple((height, width) for height, width in one.references.tolist())
        height, width = one.targets[0].tolist()
        return SampleSizes(int(one.text_tokens[0]), references, (height, width) if height else None)

    def columns(self, numbers: Int64[np.ndarray, " numbers"]) -> SizeColumns:
        """Sizes of some samples, in the order of their numbers."""
        self._look()
        blocks = numbers // CHECKED
        counts = self.counts[numbers].astype(np.int32)
        rows = np.zeros(len(numbers), dtype=np.int64)
        for block in np.unique(blocks).tolist():
            self._check(block)
            if self.starts[block] < self.starts[block + 1]:
                own = blocks == block
                before = np.cumsum(self.counts[block * CHECKED : (block + 1) * CHECKED], dtype=np.int64)
                rows[own] = self.starts[block] + before[numbers[own] % CHECKED] - counts[own]
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        references = self.references[np.repeat(rows, counts) + inside]
        return SizeColumns(self.text_tokens[numbers], self.targets[numbers], counts, references)

    def blocks(self) -> Iterator[SizeColumns]:
        """Sizes of all samples, not too many at a time."""
        for samples, references in self.slices():
            counts = self.counts[samples].astype(np.int32)
            yield SizeColumns(self.text_tokens[samples], self.targets[samples], counts, self.references[references])

    def slices(self) -> Iterator[tuple[slice, slice]]:
        """All samples, not too many at a time, and where their references lie; all are checked."""
        for start in range(0, len(self), BLOCK):
            self._look()
            first, last = start // CHECKED, -(-min(start + BLOCK, len(self)) // CHECKED)
            for block in range(first, last):
                self._check(block)
            samples = slice(start, min(start + BLOCK, len(self)))
            yield samples, slice(int(self.starts[first]), int(self.starts[last]))

    def check_if_small(self) -> None:
        """Look at all sizes at once if that costs nothing, rather than when each is first read.

        Raises:
            DataError: If some are not those that were written.
        """
        if len(self) <= BLOCK:
            for block in range(len(self.checksums)):
                self._check(block)

    def save(self) -> None:
        """Write the table into its folder."""
        tensors = {name: torch.from_numpy(getattr(self, name)) for name in KINDS}
        bounds = json.dumps({**asdict(self.envelope), "text_bytes": self.most_bytes})
        kind = {"format": FORMAT, "tasks": " ".join(TASKS), "bounds": bounds}
        save_tensors(tensors, self.file, kind | {"checksum": str(self._whole(bounds))})

    def _whole(self, bounds: str) -> int:
        """A checksum of what is read at once."""
        return zlib.crc32(b"".join((bounds.encode(), self.starts.tobytes(), self.checksums.tobytes())))

    def _look(self) -> None:
        """Find out whether a mapped file is what it was: reading past its end would end the process.

        Raises:
            DataError: If it has another length.
        """
        if self._mapped and (now := self._mapped[0].written_over(self.file)):
            if now.size != self._mapped[0].size:
                raise DataError(
                    f"{self.file} now has {now.size} bytes, and had {self._mapped[0].size} when it was opened",
                    "write the folder again elsewhere, or give a new file its name by renaming",
                )
            self._mapped[0] = now
            self._sound[:] = bytes(len(self._sound))

    def _check(self, block: int) -> None:
        """Refuse sizes that are not those that were written.

        Raises:
            DataError: If they are not.
        """
        if not self._sound[block]:
            if self._checksum(block) != self.checksums[block]:
                raise DataError(f"{self.file} is damaged (its checksum is wrong)", DAMAGED)
            self._sound[block] = 1

    def _checksum(self, block: int) -> int:
        own = slice(block * CHECKED, (block + 1) * CHECKED)
        start, stop = self.starts[block : block + 2]
        found = 0
        for array in (self.tasks, self.text_tokens, self.text_bytes, self.targets, self.counts):
            found = zlib.crc32(np.ascontiguousarray(array[own]).data, found)
        return zlib.crc32(np.ascontiguousarray(self.references[start:stop]).data, found)

    @classmethod
    def of(
        cls, folder: Path, tasks: Sequence[Task], sizes: Sequence[SampleSizes], text_bytes: Sequence[int]
    ) -> "SizeTable":
        """The table of a folder, given task, sizes and bytes of text of each sample, at least one."""
        columns = SizeColumns.of(sizes)
        before = np.concatenate([[0], np.cumsum(columns.counts, dtype=np.int64)])
        blocks = -(-len(sizes) // CHECKED)
        checksums = np.zeros(blocks, dtype=np.int64)
        made = cls(
            folder / SIZES_FILE,
            np.array([TASKS.index(task) for task in tasks], dtype=np.int8),
            columns.text_tokens,
            np.array(text_bytes, dtype=np.int32),
            columns.targets,
            columns.counts.astype(np.int16),
            columns.references,
            before[np.minimum(np.arange(blocks + 1) * CHECKED, len(sizes))],
            checksums,
            Envelope.of([columns]),
            max(text_bytes),
            bytearray(b"\1" * blocks),
        )
        checksums[:] = [made._checksum(block) for block in range(blocks)]
        return made

    @classmethod
    def load(cls, folder: Path) -> "SizeTable":
        """Map the table of a folder of chunks.

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
            stamp = Stamp.of(file)
            with safe_open(file, "pt") as opened:
                kind = opened.metadata() or {}
                if kind.get("format") != FORMAT or kind.get("tasks") != " ".join(TASKS):
                    wanted = {"format": FORMAT, "tasks": " ".join(TASKS)}
                    name = next(name for name, value in wanted.items() if kind.get(name) != value)
                    raise DataError(
                        f"{file} has the {name} {kind.get(name)!r}, expected {wanted[name]!r}; write the folder again "
                        "with `omnigen2 data optimize`"
                    )
                arrays = {name: opened.get_tensor(name).numpy() for name in KINDS}
        except (SafetensorError, OSError, TypeError) as error:
            raise DataError(f"{file} is damaged ({error})", DAMAGED) from error
        if wrong := _misfit(arrays):
            raise DataError(f"{file} is damaged ({wrong})", DAMAGED)
        mapped = [stamp] if len(arrays["tasks"]) > BLOCK else []
        copied = ("starts", "checksums") if mapped else KINDS
        arrays |= {name: arrays[name].copy() for name in copied}
        bounds = kind.get("bounds", "{}")
        table = cls(file, **arrays, **_bounds(bounds), _sound=bytearray(len(arrays["checksums"])), _mapped=mapped)
        if kind.get("checksum") != str(table._whole(bounds)):
            raise DataError(f"{file} is damaged (its checksum is wrong)", DAMAGED)
        return table


def _bounds(text: str) -> dict[str, Any]:
    """What the file says in its head, if it is whole; else anything, since the checksum of the head is wrong then."""
    try:
        found: dict[str, Any] = json.loads(text)
        return {"most_bytes": found.pop("text_bytes"), "envelope": Envelope(**found)}
    except (ValueError, TypeError, LookupError, RecursionError, AttributeError):
        return {"most_bytes": 0, "envelope": Envelope(0, 0, 0, None, 0, 0)}


def _misfit(arrays: dict[str, np.ndarray]) -> str:
    """How the arrays of a table do not fit one another, empty if they do."""
    samples, references = arrays["tasks"].size, arrays["references"].size // 2
    blocks = -(-samples // CHECKED)
    lengths = dict.fromkeys(KINDS, samples) | {"references": references, "starts": blocks + 1, "checksums": blocks}
    for name, (kind, rest) in KINDS.items():
        if arrays[name].dtype != kind or arrays[name].shape != (lengths[name], *rest):
            found = f"{arrays[name].dtype} and shape {arrays[name].shape}"
            return f"{name} is of type {found}, expected {np.dtype(kind)} and {(lengths[name], *rest)}"
    starts = arrays["starts"]
    if starts[0] != 0 or starts[-1] != references or (np.diff(starts) < 0).any():
        return "the starts of references are not in order"
    return "" if samples else "it has no samples"
