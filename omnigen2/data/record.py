"""One sample as one run of bytes: the only thing our litdata chunks hold.

litdata infers a schema from the first record and loses, without a word, whatever does not fit it: later keys, longer
lists, `None`. A record that is a single leaf of bytes leaves nothing to infer. It is

    magic (8) | length of the header (4, little endian) | crc32 of length, header and images (4) | header | images

where the header is JSON, and the images are the files' contents behind one another, lengths in the header. Latents
that were computed before follow the images, so that the pictures stay at hand for inspection, for a model that sees
them, and for a training with another codec or other sizes.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, cast

from omnigen2.data.errors import DataError
from omnigen2.data.latents import LATENT_TYPES, LATENTS_FILE, LatentOrigin, SampleLatents, StoredLatent
from omnigen2.data.sample import Sample

MAGIC = b"omnigen1"
PREFIX = struct.Struct("<8sII")
FIELDS: dict[str, type | tuple[type, ...]] = {
    "task": str,
    "instruction": str,
    "answer": (str, type(None)),
    "key": str,
    "meta": str,
    "lengths": list,
    "latents": list,
    "has_target": bool,
}
"""What the header holds, no more and no less."""


def checksum_of(length: int, body: bytes) -> int:
    """What a record carries to show that it is whole.

    Args:
        length: Of the header.
        body: Header and images.

    Returns:
        crc32 of both.
    """
    return zlib.crc32(body, zlib.crc32(struct.pack("<I", length)))


def encode(sample: Sample) -> bytes:
    """A sample as bytes, images and latents included; what made the latents is the folder's to tell.

    Args:
        sample: Its images must be bytes, or paths that can be read.

    Returns:
        What `decode` takes.
    """
    images = [image if isinstance(image, bytes) else image.read_bytes() for image in sample.images]
    latents = () if sample.latents is None else sample.latents.images
    parts = [*images, *(latent.content for latent in latents)]
    header = {
        "task": sample.task,
        "instruction": sample.instruction,
        "answer": sample.answer,
        "key": sample.key,
        "meta": sample.meta,
        "lengths": [len(part) for part in parts],
        "latents": [{"shape": latent.shape, "stored_as": latent.stored_as} for latent in latents],
        "has_target": sample.target is not None,
    }
    text = json.dumps(header).encode()
    body = b"".join((text, *parts))
    return PREFIX.pack(MAGIC, len(text), checksum_of(len(text), body)) + body


def decode(record: bytes | memoryview, name: str, origin: LatentOrigin | None = None) -> Sample:
    """The sample that `encode` was given, images as bytes.

    Args:
        record: What was stored.
        name: What messages call it.
        origin: What made the latents; None if there are none.

    Returns:
        An equal sample, but for images that were paths.

    Raises:
        DataError: If the record was changed, truncated, or written by something else, or if it has latents and no
            origin, or an origin and a target but no latents.
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
    borders = pairwise(accumulate(header["lengths"], initial=length))
    parts = tuple(body[start:end] for start, end in borders)
    images = parts[: len(parts) - len(header["latents"])]
    latents = _latents(header["latents"], parts[len(images) :], name)
    if bool(latents) != (origin is not None and header["has_target"]):
        raise DataError(
            f"{name} has {len(latents)} latents, but its folder says that they were made by {origin}; files of two "
            f"runs are mixed, or {LATENTS_FILE} is missing: copy the folder anew, or {remedy}"
        )
    return Sample(
        task=header["task"],
        instruction=header["instruction"],
        references=images[:-1] if header["has_target"] else images,
        target=images[-1] if header["has_target"] else None,
        answer=header["answer"],
        key=header["key"],
        meta=header["meta"],
        latents=None if origin is None or not latents else SampleLatents(latents, origin),
    )


def _latents(entries: list[Any], contents: Sequence[bytes], name: str) -> tuple[StoredLatent, ...]:
    latents: list[StoredLatent] = []
    for entry, content in zip(entries, contents, strict=True):
        if entry["stored_as"] not in LATENT_TYPES:
            raise DataError(f"{name} has latents of type {entry['stored_as']!r}, expected {' or '.join(LATENT_TYPES)}")
        latents.append(StoredLatent(tuple(entry["shape"]), entry["stored_as"], content))
    return tuple(latents)


def _header(text: bytes, name: str, remedy: str) -> dict[str, Any]:
    header: Any = json.loads(text)
    if not isinstance(header, dict):
        raise DataError(f"{name} has a header that is no JSON object; {remedy}")
    fields = cast(dict[str, Any], header)
    if fields.keys() != FIELDS.keys():
        raise DataError(f"{name} has the fields {sorted(fields)}, expected {sorted(FIELDS)}; {remedy}")
    for field, kind in FIELDS.items():
        if not isinstance(fields[field], kind):
            raise DataError(f"{name} has a {type(fields[field]).__name__} as its {field}; {remedy}")
    return fields
