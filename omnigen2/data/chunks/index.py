"""What a folder of chunks says that it holds, and whether its files do."""

import struct
from pathlib import Path

from omnigen2.data.samples import DataError
from omnigen2.files import Fields, plain_name, read_object

DATA_FORMAT = ["bytes"]
"""The only format of records that we read: one leaf of bytes. litdata's fallback is pickle, which runs code."""
UNSET = ("compression", "encryption", "item_loader")
"""Settings of litdata that our chunks are written without."""
REMEDY = "copy it anew or write the folder again"


def chunk_lengths(folder: Path) -> list[int]:
    """Number of records in each chunk, after checking that the chunks are ours and whole.

    Raises:
        DataError: If they are not.
    """
    index = folder / "index.json"
    if not index.is_file():
        raise DataError(f"{folder} has no index.json; write it with `omnigen2 data optimize`, or check the path")
    content = read_object(index, DataError, REMEDY)
    _check_config(content.object("config"), index)
    lengths: list[int] = []
    for chunk in content.objects("chunks"):
        name = plain_name(chunk.text("filename"), f"{chunk.where} the filename", DataError)
        records, size = chunk.whole("chunk_size", low=1), chunk.whole("chunk_bytes", low=0)
        _check_chunk(folder / name, records, size)
        lengths.append(records)
    return lengths


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


def _check_chunk(file: Path, records: int, size: int) -> None:
    """Compare a chunk with the index: its head has the number of its records, and their borders.

    Raises:
        DataError: If they differ.
    """
    if not file.is_file():
        raise DataError(f"the chunk {file} is missing; copy it anew or write the folder again")
    if file.stat().st_size != size:
        raise DataError(
            f"the chunk {file} has {file.stat().st_size} bytes, expected {size}; it is truncated: copy it anew"
        )
    with file.open("rb") as opened:
        head = opened.read(4 * (records + 2))
    count, *borders = struct.unpack(f"<{len(head) // 4}I", head[: len(head) // 4 * 4]) or (0,)
    whole = len(borders) == records + 1 and borders[0] == len(head) and borders[-1] == size
    if count != records or not whole or borders != sorted(borders):
        raise DataError(f"the chunk {file} does not hold the {records} records that the index names", REMEDY)
