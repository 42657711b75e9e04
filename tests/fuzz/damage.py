"""Ways to damage valid files, each a function of a `Random`: bytes, JSON, and headers of safetensors."""

import json
import struct
import tempfile
from copy import deepcopy
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 1.5, -0.0, 2**31, 2**63, 10**400, float("nan"), float("inf"), "", "x", "8", "true",
    "../x", "/", "a\u2028b", "\ud800", [], [None], [[]], ["x"], [-1, 10**400], {}, {"x": None}, "DEEP",
)  # fmt: skip
"""What stands where something else belongs; `DEEP` becomes a list in a list in a list."""
DEEP = "[" * 3000 + "]" * 3000


@cache
def workshop() -> Path:
    """A folder for valid files that are made once, and is left to the system's own cleaning."""
    return Path(tempfile.mkdtemp(prefix="fuzz_"))


def bytes_damaged(content: bytes, rng: Random, head: int | None = None) -> tuple[str, bytes]:
    """Damage bytes anywhere, or among the first `head`."""
    end = max(1, min(len(content), head or len(content)))
    place, length = rng.randrange(end), rng.randint(1, 12)
    how = rng.choice(("flip", "flip", "flip", "truncate", "insert", "drop", "repeat", "zero"))
    match how:
        case "flip":
            changed = bytearray(content)
            for _ in range(rng.choice((1, 1, 2, 5))):
                changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
            return how, bytes(changed)
        case "truncate":
            return f"truncate at {place}", content[:place]
        case "insert":
            return f"insert at {place}", content[:place] + rng.randbytes(length) + content[place:]
        case "drop":
            return f"drop at {place}", content[:place] + content[place + length :]
        case "repeat":
            return f"repeat at {place}", content[: place + length] + content[place:]
        case _:
            return f"zero at {place}", content[:place] + bytes(length) + content[place + length :]


def json_damaged(value: Any, rng: Random) -> tuple[str, str]:
    """Damage a value of JSON at one place, deep or not; what was done, and the text."""
    whole = deepcopy(value)
    owners = [one for one in _containers(whole) if one]
    if not owners or rng.random() < 0.05:
        return "another whole", written(rng.choice(WRONG))
    owner = rng.choice(owners)
    place = rng.choice(list(owner)) if isinstance(owner, dict) else rng.randrange(len(owner))
    match rng.choice(("drop", "retype", "retype", "retype", "rename", "unknown", "double")):
        case "drop":
            del owner[place]
            return f"drop {place}", written(whole)
        case "rename" if isinstance(owner, dict):
            owner[rng.choice((f"{place}x", str(place).upper(), ""))] = owner.pop(place)
            return f"rename {place}", written(whole)
        case "unknown" if isinstance(owner, dict):
            owner["unknown_key"] = rng.choice(WRONG)
            return "unknown key", written(whole)
        case "double" if isinstance(owner, dict):
            twin = f"{json.dumps(place)}: {written(rng.choice(WRONG))}, "
            before = json.dumps(owner)
            return f"double {place}", json.dumps(whole).replace(before, "{" + twin + before[1:], 1)
        case _:
            owner[place] = wrong = rng.choice(WRONG)
            return f"{place} becomes {str(wrong)[:20]!r}", written(whole)


def written(value: Any) -> str:
    """JSON with what JSON does not have, such as NaN and depth."""
    return json.dumps(value).replace('"DEEP"', DEEP)


def header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and what follows it."""
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(text: str, data: bytes) -> bytes:
    """A safetensors file."""
    raw = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(raw)) + raw + data


def safetensors_damaged(content: bytes, rng: Random) -> tuple[str, bytes]:
    """Damage a file's header: as bytes, as JSON, or as names, types and shapes of tensors that fit together."""
    header, data = header_of(content)
    names = [name for name in header if name != "__metadata__"]
    name, other = rng.choice(names), rng.choice(names)
    match rng.choice(("bytes", "json", "json", "length", "rename", "drop", "swap", "dtype", "transpose")):
        case "bytes":
            how, changed = bytes_damaged(content, rng, head=len(content) - len(data))
            return f"header: {how}", changed
        case "json":
            how, text = json_damaged(header, rng)
            return f"header: {how}", with_header(text, data)
        case "length":
            wrong = rng.choice((0, 1, 2**63, 2**64 - 1, len(content), 10**9))
            return f"header of {wrong} bytes", struct.pack("<Q", wrong) + content[8:]
        case "rename":
            new = rng.choice((f"model.{name}", name + "x", name.upper(), "", name.replace("weight", "bias")))
            renamed = {new if key == name else key: value for key, value in header.items()}
            return f"rename {name} to {new}", with_header(json.dumps(renamed), data)
        case "drop":  # the tensor's bytes go as well: the file itself is whole
            return f"drop {name}", without(header, data, name)
        case "swap":
            header[name], header[other] = header[other], header[name]
            return f"swap {name} and {other}", with_header(json.dumps(header), data)
        case "dtype":
            same = {"F32": ("I32", "U32"), "BF16": ("I16", "F16", "U16"), "F16": ("I16", "BF16")}
            header[name]["dtype"] = rng.choice(same.get(header[name]["dtype"], ("I8",)))
            return f"{name} becomes {header[name]['dtype']}", with_header(json.dumps(header), data)
        case _:
            header[name]["shape"] = header[name]["shape"][::-1]
            return f"{name} is turned over", with_header(json.dumps(header), data)


def without(header: dict[str, Any], data: bytes, name: str) -> bytes:
    """A whole file with one tensor less."""
    start, end = header[name]["data_offsets"]
    kept = {key: deepcopy(value) for key, value in header.items() if key != name}
    for key, value in kept.items():
        if key != "__metadata__":
            value["data_offsets"] = [at - (end - start) * (at >= end) for at in value["data_offsets"]]
    return with_header(json.dumps(kept), data[:start] + data[end:])


def _containers(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(deep for one in inner for deep in _containers(one))] if isinstance(value, dict | list) else []
