"""One sample as one run of bytes: the only thing our litdata chunks hold.

litdata infers a schema from the first record and loses, without a word, whatever does not fit it: later keys, longer
lists, `None`. A record that is a single leaf of bytes leaves nothing to infer. It is

    magic (8) | length of the header (4, little endian) | crc32 of length, header and images (4) | header | images

where the header is JSON, and the images are the files' contents behind one another, lengths in the header. Latents
and then text states that were computed before follow the images, so that the pictures stay at hand for inspection, for
a model that sees them, and for a training with another codec or other sizes.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import cast

from omnigen2.data.samples import (
    NUMBER_TYPES,
    TASKS,
    DataError,
    LatentOrigin,
    NumberType,
    Origin,
    Origins,
    Sample,
    StatesOrigin,
    Stored,
    StoredTensor,
    Task,
)
from omnigen2.files import Fields, object_in

MAGIC = b"omnigen1"
PREFIX = struct.Struct("<8sII")
FIELDS = ("task", "instruction", "answer", "key", "meta", "lengths", "latents", "states", "has_target")
"""What the header holds, no more and no less."""


def checksum_of(length: int, body: bytes) -> int:
    """What a record carries to show that it is whole: the crc32 of the length of its header, and of its body."""
    return zlib.crc32(body, zlib.crc32(struct.pack("<I", length)))


def encode(sample: Sample) -> bytes:
    """A sample as bytes, with its images and what was computed before; what made this is the folder's to tell.

    Args:
        sample: Its images must be bytes, or paths that can be read.
    """
    images = [image if isinstance(image, bytes) else image.read_bytes() for image in sample.images]
    latents, states = (() if one is None else one.tensors for one in (sample.latents, sample.states))
    parts = [*images, *(stored.content for stored in (*latents, *states))]
    header = {
        "task": sample.task,
        "instruction": sample.instruction,
        "answer": sample.answer,
        "key": sample.key,
        "meta": sample.meta,
        "lengths": [len(part) for part in parts],
        "latents": [{"shape": stored.shape, "stored_as": stored.stored_as} for stored in latents],
        "states": [{"shape": stored.shape, "stored_as": stored.stored_as} for stored in states],
        "has_target": sample.target is not None,
    }
    text = json.dumps(header).encode()
    body = b"".join((text, *parts))
    return PREFIX.pack(MAGIC, len(text), checksum_of(len(text), body)) + body


def decode(record: bytes | memoryview, name: str, origins: Origins | None = None) -> Sample:
    """The sample that `encode` was given, images as bytes.

    Args:
        name: What messages call the record.
        origins: What made that of it which was computed before; None if there is nothing.

    Raises:
        DataError: If the record was changed, truncated, or written by something else, or if it has latents or text
            states and no origin of them, or an origin and a target but none of them.
    """
    raw = bytes(record)
    remedy = "write the chunks again with `omnigen2 data optimize`"
    if len(raw) < PREFIX.size or not raw.startswith(MAGIC):
        raise DataError(f"{name} is no record of omnigen2 (it starts with {raw[:8]!r}); {remedy}")
    _, length, checksum = PREFIX.unpack_from(raw)
    body = raw[PREFIX.size :]
    if checksum_of(length, body) != checksum:
        raise DataError(f"{name} is damaged or truncated (its checksum is wrong); copy the chunk anew, or {remedy}")
    header = _header(body[:length], name, remedy)
    has_target = header.flag("has_target")
    borders = list(accumulate(header.wholes("lengths", low=0), initial=length))
    parts = tuple(body[start:end] for start, end in pairwise(borders))
    stored = header.objects("latents"), header.objects("states")
    images = parts[: max(0, len(parts) - sum(map(len, stored)))]
    if borders[-1] != len(body) or len(parts) < sum(map(len, stored)) + has_target:
        raise DataError(f"{name} has lengths of {len(parts)} parts, which are not those of its content; {remedy}")
    rest = iter(parts[len(images) :])
    latents, states = (tuple(_tensors(entries, rest)) for entries in stored)
    known = Origins() if origins is None else origins
    found: list[tuple[type[Origin], int, Origin | None]] = [
        (LatentOrigin, len(latents), known.latents),
        (StatesOrigin, len(states), known.states),
    ]
    for kind, count, origin in found:
        if bool(count) != (origin is not None and has_target):
            raise DataError(
                f"{name} has {count} {kind.kind}, but its folder says that they were made by {origin}; files of two "
                f"runs are mixed, or {kind.file} is missing: copy the folder anew, or {remedy}"
            )
    return Sample(
        task=cast(Task, header.choice("task", *TASKS)),
        instruction=header.text("instruction"),
        references=images[:-1] if has_target else images,
        target=images[-1] if has_target else None,
        answer=header.text("answer") if header.has("answer") else None,
        key=header.text("key"),
        meta=header.text("meta"),
        latents=None if known.latents is None or not latents else Stored(latents, known.latents),
        states=None if known.states is None or not states else Stored(states, known.states),
    )


def _tensors(entries: Sequence[Fields], contents: Iterator[bytes]) -> Iterator[StoredTensor]:
    for entry in entries:
        stored_as = cast(NumberType, entry.choice("stored_as", *NUMBER_TYPES))
        yield StoredTensor(entry.wholes("shape", low=0), stored_as, next(contents))


def _header(text: bytes, name: str, remedy: str) -> Fields:
    try:
        header = object_in(json.loads(text), f"the header of {name}", DataError, remedy)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} has a header that is no JSON object ({error}); {remedy}") from error
    if set(header.values) != set(FIELDS):
        raise DataError(f"{name} has the fields {sorted(header.values)}, expected {sorted(FIELDS)}; {remedy}")
    return header
