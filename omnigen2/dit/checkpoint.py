"""Transformers on disk, in the layout of the released model.

A folder holds `config.json` and `diffusion_pytorch_model.safetensors`, or several shards and
`diffusion_pytorch_model.safetensors.index.json`, which names the shard of every key.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from omnigen2.dit.backends import AttentionBackend
from omnigen2.dit.model import DiffusionTransformer
from omnigen2.dit.released import model_from_config, released_config, released_key
from omnigen2.errors import UserError
from omnigen2.rope import PositionScheme

WEIGHTS = "diffusion_pytorch_model"
INDEX = f"{WEIGHTS}.safetensors.index.json"


class CheckpointError(UserError):
    """A checkpoint that cannot be read: the message names the file, the key, what was got and what was expected."""


def load_transformer(
    directory: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    positions: PositionScheme | None = None,
    backend: AttentionBackend = "auto",
) -> DiffusionTransformer:
    """Read a transformer, one tensor after another, each straight to its place.

    Args:
        dtype: Of the parameters; by default as stored.
        positions: Where tokens stand, if not where the folder's configuration says (Omni-RoPE, unless it was
            saved with another scheme).
        backend: Attention kernel, see `omnigen2.dit.attend`.

    Raises:
        CheckpointError: If a file is missing or broken, a key is missing or unexpected, or a shape is wrong.
        FileNotFoundError: If there is no such folder.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"no folder {directory}; expected one with config.json and {WEIGHTS}*.safetensors")
    config = _read_json(directory / "config.json")
    try:
        with torch.device("meta"):
            model = model_from_config(config, positions, backend)
    except ValueError as error:
        raise CheckpointError(f"{directory / 'config.json'}: {error}") from error
    wanted = {released_key(name): name for name in model.state_dict()}
    for path, keys in _shards(directory, set(wanted)).items():
        with _open(path) as shard:
            _check_keys(path, keys, set(shard.keys()))
            for key in keys:
                _place(model, wanted[key], _tensor(path, shard, key), path, key, dtype, device)
    return model


def save_transformer(
    model: DiffusionTransformer, directory: str | Path, *, max_shard_bytes: int = 10 * 1024**3, overwrite: bool = False
) -> list[Path]:
    """Write a transformer in the released layout, in the dtype it has, and return the files.

    Args:
        model: With parameters on any one device.
        directory: Made if missing.
        max_shard_bytes: Largest shard, in bytes of tensors. With one shard there is no index.
        overwrite: Whether weights that are already there may be replaced.

    Raises:
        FileExistsError: If the folder has weights already and `overwrite` is not set.
        ValueError: If the shard size is not positive.
    """
    if max_shard_bytes < 1:
        raise ValueError(f"max_shard_bytes must be positive, got {max_shard_bytes}")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    old = set(directory.glob(f"{WEIGHTS}*.safetensors*"))
    if old and not overwrite:
        names = ", ".join(sorted(path.name for path in old))
        raise FileExistsError(f"{directory} has weights already ({names}); pass overwrite=True to replace them")
    shards = _split(model, max_shard_bytes)
    written = [_write_json(directory / "config.json", released_config(model))]
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        many = f"-{number:05d}-of-{len(shards):05d}" if len(shards) > 1 else ""
        path = directory / f"{WEIGHTS}{many}.safetensors"
        weight_map |= dict.fromkeys(shard, path.name)
        part = _part(path)
        part.touch()
        mode = part.stat().st_mode  # as the umask says; safetensors writes for the owner alone
        save_file({key: tensor.contiguous() for key, tensor in shard.items()}, part, {"format": "pt"})
        part.chmod(mode)
        written.append(part.replace(path))
    if len(shards) > 1:
        size = sum(tensor.nbytes for shard in shards for tensor in shard.values())
        index = {"metadata": {"total_size": size}, "weight_map": weight_map}
        written.append(_write_json(directory / INDEX, index))
    for path in old - set(written):
        path.unlink()
    return written


def _split(model: nn.Module, max_bytes: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in cast(dict[str, Tensor], model.state_dict()).items():
        if shards[-1] and size + tensor.nbytes > max_bytes:
            shards.append({})
            size = 0
        shards[-1][released_key(name)] = tensor
        size += tensor.nbytes
    return shards


def _shards(directory: Path, wanted: set[str]) -> dict[Path, set[str]]:
    index = directory / INDEX
    single = directory / f"{WEIGHTS}.safetensors"
    if not index.exists():
        if not single.exists():
            raise CheckpointError(f"{directory} has neither {single.name} nor {INDEX}; is the download complete?")
        return {single: wanted}
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f'{index} has no "weight_map", which says in which shard each key is')
    _check_keys(index, wanted, set(cast(dict[str, str], weight_map)))
    shards: dict[Path, set[str]] = {}
    for key, name in cast(dict[str, str], weight_map).items():
        shards.setdefault(directory / name, set()).add(key)
    for path in shards:
        if not path.exists():
            raise CheckpointError(f"{index} names {path.name}, which is not there; is the download complete?")
    return shards


def _check_keys(path: Path, expected: set[str], found: set[str]) -> None:
    for keys, problem in ((expected - found, "lacks"), (found - expected, "has unexpected")):
        if keys:
            some = ", ".join(sorted(keys)[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
            raise CheckpointError(f"{path} {problem} {some}; expected the keys that config.json implies")


@contextmanager
def _open(path: Path) -> Generator[Any]:
    try:
        shard = safe_open(path, framework="pt")
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} ({path.stat().st_size} bytes) is not a whole safetensors file: {error}; download it again"
        ) from error
    with shard as opened:
        yield opened


def _tensor(path: Path, shard: Any, key: str) -> Tensor:
    try:
        return shard.get_tensor(key)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: {key} cannot be read: {error}; download the file again") from error


def _place(
    model: nn.Module,
    name: str,
    tensor: Tensor,
    path: Path,
    key: str,
    dtype: torch.dtype | None,
    device: torch.device | str,
) -> None:
    stem, _, leaf = name.rpartition(".")
    owner = model.get_submodule(stem)
    expected = cast(Tensor, getattr(owner, leaf))
    if tensor.shape != expected.shape:
        raise CheckpointError(
            f"{path}: {key} has shape {tuple(tensor.shape)}, but config.json implies {tuple(expected.shape)}; "
            "the two are of different models: take both from one"
        )
    placed = torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device=device).copy_(tensor)
    setattr(owner, leaf, nn.Parameter(placed, requires_grad=placed.is_floating_point()))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} has no {path.name}; is it a transformer's folder?") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds {type(content).__name__}, expected a JSON object")
    return cast(dict[str, Any], content)


def _write_json(path: Path, content: dict[str, Any]) -> Path:
    _part(path).write_text(json.dumps(content, indent=2) + "\n")
    return _part(path).replace(path)


def _part(path: Path) -> Path:
    """Where a file is written before it takes its name, so that no half file ever carries it."""
    return path.with_name(path.name + ".part")
