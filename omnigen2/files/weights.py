"""The safetensors files of a model's folder: which there are, and what kind of numbers they hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Never, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from omnigen2.errors import UserError
from omnigen2.files.fields import read_object

REALS = ("F64", "F32", "BF16", "F16")
"""What weights are computed with, as files name it."""
COUNTERS = ("position_ids", "relative_position_index", "num_batches_tracked")
"""Last parts of the names of buffers that hold whole numbers, and no weights."""


class WeightsError(UserError):
    """Weights that cannot be used: the message names the file, the key, what was got and what was expected."""


class Stored(NamedTuple):
    """A tensor in a file: its type, such as `BF16`, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def weight_files(
    folder: Path, stem: str, error: type[UserError] = WeightsError, remedy: str = "is the download complete?"
) -> dict[Path, dict[str, Stored]]:
    """The files that a folder's weights lie in, and what their headers say; each key is a real number's, once.

    Args:
        folder: Has `<stem>.safetensors`, or an index of shards, `<stem>.safetensors.index.json`.
        error: What is raised.
        remedy: What to do if the folder has weights in other files.

    Raises:
        UserError: If a file is missing, broken, of a quantised model, or not where the index says.
    """
    index, single = folder / f"{stem}.safetensors.index.json", folder / f"{stem}.safetensors"
    if index.exists() and single.exists():
        raise error(f"{folder} has {single.name} and {index.name}: which are its weights?", "remove the older one")
    if index.exists():
        files = _shards(index, error)
    elif single.exists():
        files = {single: read_header(single, error)}
    else:
        _missing(folder, stem, error, remedy)
    for path, header in files.items():
        check_types(path, header, error)
    return files


def read_header(path: Path, error: type[UserError] = WeightsError) -> dict[str, Stored]:
    """What a safetensors file holds, without reading a tensor.

    Raises:
        UserError: If the file cannot be read or is broken.
    """
    try:
        with safe_open(path, framework="pt") as file:
            opened = cast(Any, file)
            slices = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118
            return {key: Stored(one.get_dtype(), tuple(one.get_shape())) for key, one in slices.items()}
    except SafetensorError as reason:
        size = path.stat().st_size
        raise error(f"{path} ({size} bytes) is not a whole safetensors file: {reason}", "download it again") from reason
    except OSError as reason:
        raise error(f"{path} cannot be read ({reason})", "expected a safetensors file") from reason


def check_types(path: Path, header: Mapping[str, Stored], error: type[UserError] = WeightsError) -> None:
    """Refuse numbers that no network here computes with: whole ones, complex ones, and those of quantised models.

    Raises:
        UserError: At the first key of such a type.
    """
    scaled = next((key for key in header if key.endswith(("scale_weight", "scaled_fp8", "weight_scale"))), None)
    if scaled is not None:
        raise error(
            f"{path} has {scaled}: its weights are scaled (fp8 of other programs), which is not supported",
            "take the bfloat16, float16 or float32 weights of the same model",
        )
    for key, stored in header.items():
        if stored.dtype not in REALS and key.rpartition(".")[2] not in COUNTERS:
            raise error(
                f"{path}: {key} has the type {stored.dtype}, expected one of {', '.join(REALS)}",
                "take the bfloat16, float16 or float32 weights of the same model; quantised ones are not supported",
            )


def check_tensors(path: Path, tensors: Mapping[str, Tensor], error: type[UserError] = WeightsError) -> None:
    """`check_types` of tensors that were read from a file of any kind.

    Raises:
        UserError: At the first key of such a type.
    """
    check_types(path, {key: Stored(named(one.dtype), tuple(one.shape)) for key, one in tensors.items()}, error)


def named(dtype: torch.dtype) -> str:
    """What safetensors calls a type of reals; others by torch's name."""
    size = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
    return size.get(dtype, str(dtype).removeprefix("torch."))


def _shards(index: Path, error: type[UserError]) -> dict[Path, dict[str, Stored]]:
    content = read_object(index, error, "download the file again")
    if not content.has("weight_map"):
        raise error(f'{index} has no "weight_map", which says in which shard each key is', "download the file again")
    places = content.object("weight_map")
    shards: dict[Path, set[str]] = {}
    for key in places.values:
        name = places.text(key)
        if Path(name).name != name or "\\" in name:
            raise error(f"{index} says that {key} is in {name!r}", "expected the name of a file beside the index")
        shards.setdefault(index.parent / name, set()).add(key)
    files: dict[Path, dict[str, Stored]] = {}
    for path, keys in shards.items():
        if not path.exists():
            raise error(f"{index} names {path.name}, which is not there", "is the download complete?")
        files[path] = read_header(path, error)
        left_out = set(files[path]) - set(places.values)
        compare(index, left_out, set(), f"{path.name} has them: download both again", error)
        compare(path, keys, set(files[path]), f"expected the keys that {index.name} names", error)
    return files


def compare(path: Path, expected: set[str], found: set[str], remedy: str, error: type[UserError]) -> None:
    """Refuse a file that lacks keys, or has further ones.

    Raises:
        UserError: It names up to three of them.
    """
    for keys, problem in ((expected - found, "lacks"), (found - expected, "has unexpected")):
        if keys:
            raise error(f"{path} {problem} {some(keys)}", remedy)


def some(keys: set[str]) -> str:
    """Up to three keys, and how many more there are."""
    return ", ".join(sorted(keys)[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _missing(folder: Path, stem: str, error: type[UserError], remedy: str) -> Never:
    """Say what a folder lacks, and what it has instead."""
    patterns = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf")
    others = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
    wanted = f"neither {stem}.safetensors nor {stem}.safetensors.index.json"
    if not others:
        raise error(f"{folder} has {wanted}", "is the download complete?")
    raise error(f"{folder} has {wanted}, but {', '.join(others[:3])}", remedy)
