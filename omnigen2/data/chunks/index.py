"""What a folder of chunks says that it holds, and whether its files do."""

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Int64

from omnigen2.data.chunks.open_chunk import REMEDY, OpenChunk
from omnigen2.data.samples import DataError
from omnigen2.files import Fields, plain_name, read_object

DATA_FORMAT = ["bytes"]
"""The only format of records that we read: one leaf of bytes. litdata's fallback is pickle, which runs code."""
UNSET = ("compression", "encryption", "item_loader")
"""Settings of litdata that our chunks are written without."""
MOST = 2**32 - 1
"""Records and bytes of a chunk, in which they are numbers of 4 bytes."""
FEW = 1000
"""So many chunks are looked at when a folder is opened; of more, each when it is first read."""


@dataclass(frozen=True)
class ChunkIndex:
    """The chunks of a folder.

    Attributes:
        names: Of their files, in ASCII.
        records: Number of records of each.
        lengths: Of their files in bytes.
    """

    names: np.ndarray
    records: Int64[np.ndarray, " chunks"]
    lengths: Int64[np.ndarray, " chunks"]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, chunk: int) -> str:
        """The name of the file of a chunk."""
        return self.names[chunk].decode()

    def open(self, chunk: int, file: Path) -> OpenChunk:
        """A chunk, given where it lies.

        Raises:
            DataError: If the file does not hold it.
        """
        return OpenChunk(file, int(self.records[chunk]), int(self.lengths[chunk]))

    @classmethod
    def load(cls, root: Path, folder: object) -> "ChunkIndex":
        """Read what the index says.

        Args:
            root: Where `index.json` lies.
            folder: What messages call the folder.

        Raises:
            DataError: If it is missing, or if it is not of chunks of ours.
        """
        file = root / "index.json"
        if not file.is_file():
            raise DataError(f"{folder} has no index.json; write it with `omnigen2 data optimize`, or check the path")
        names, records, lengths = _quickly(file) or _strictly(file)
        return cls(np.array(names, dtype="S"), np.array(records, dtype=np.int64), np.array(lengths, dtype=np.int64))

    def check_files(self, folder: Path) -> None:
        """Look for all chunks in a local folder.

        Raises:
            DataError: If one is missing, or does not hold its records, for which no more than `FEW` are looked at.
        """
        found = set(os.listdir(os.fsencode(folder)))
        for name in self.names.tolist():
            if name not in found:
                raise DataError(f"the chunk {folder / name.decode()} is missing; {REMEDY}")
        if len(self) <= FEW:
            for chunk in range(len(self)):
                self.open(chunk, folder / self.name(chunk)).close()


Found = tuple[list[str], list[int], list[int]]
"""Names, numbers of records and bytes of chunks."""


def _quickly(file: Path) -> Found | None:
    """What the index says if it looks just as we write it: a quarter of a million chunks are read in a second."""
    try:
        content: Any = json.loads(file.read_bytes())
        config, chunks = content["config"], cast(list[dict[str, Any]], content["chunks"])
        names: list[str] = [chunk["filename"] for chunk in chunks]
        records: list[int] = [chunk["chunk_size"] for chunk in chunks]
        lengths: list[int] = [chunk["chunk_bytes"] for chunk in chunks]
        if config["data_format"] != DATA_FORMAT or any(config.get(name) is not None for name in UNSET[:2]):
            return None
        whole = all(type(number) is int for numbers in (records, lengths) for number in numbers)
        ours = "".join(names).replace("-", "").replace(".", "")
        inside = whole and min(records) > 0 and min(lengths) >= 0 and max(max(records), max(lengths)) <= MOST
        if config.get("item_loader") in (None, "PyTreeLoader") and inside:
            plain = ours.isascii() and ours.isalnum() and len(set(names)) == len(names)
            return (names, records, lengths) if plain and not any(name.startswith(".") for name in names) else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        pass
    return None


def _strictly(file: Path) -> Found:
    """The same, or in words what is wrong.

    Raises:
        DataError: If something is.
    """
    content = read_object(file, DataError, REMEDY)
    _check_config(content.object("config"), file)
    names: list[str] = []
    records: list[int] = []
    lengths: list[int] = []
    for chunk in content.objects("chunks"):
        name = plain_name(chunk.text("filename"), f"{chunk.where} the filename", DataError)
        if not name.isascii():
            raise chunk.refusal("filename", "a name in ASCII")
        names.append(name)
        records.append(chunk.whole("chunk_size", low=1, high=MOST))
        lengths.append(chunk.whole("chunk_bytes", low=0, high=MOST))
    if twice := sorted({name for name, count in Counter(names).items() if count > 1}):
        raise DataError(f"{file} names {twice[0]} twice", REMEDY)
    return names, records, lengths


def _check_config(config: Fields, index: Path) -> None:
    if (found := config.values.get("data_format")) != DATA_FORMAT:
        danger = "; pickle runs whatever code it holds" if "pickle" in str(found) else ""
        raise DataError(
            f"{index} has data_format {found}, expected {DATA_FORMAT}{danger}\n"
            "only chunks written by `omnigen2 data optimize` are read; write them again from their jsonl files"
        )
    for name in filter(config.has, UNSET):
        if (name, config.values[name]) != ("item_loader", "PyTreeLoader"):
            raise config.refusal(name, "none: only chunks written by `omnigen2 data optimize` are read")
