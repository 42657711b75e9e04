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
from omnigen2.files import compare, read_object, weight_files
from omnigen2.rope import PositionScheme

WEIGHTS = "diffusion_pytorch_model"
INDEX = f"{WEIGHTS}.safetensors.index.json"

FOUR = 4
"""Parameters begin at addresses that are multiples of so many elements: MKL rounds float32 otherwise at others."""
IMPLIED = "expected the keys that config.json implies"
EXPORT = "`omnigen2 export FILE --base FOLDER --out NEW` writes a file of weights as a model folder"


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
    """Load a transformer.

    On the host, parameters of the dtype that the file has are pages of the file (but where they begin at an odd
    address in it): nothing is read before it is used, all processes share it, and what is written into a parameter
    stays in this process. Such a file may be deleted, or replaced by renaming as `save_transformer` does; never write
    into it in place while a model works out of it (`omnigen2.files.MappedFiles` tells). To another dtype or device,
    one tensor after another is copied.

    Args:
        dtype: Of the parameters; by default as stored.
        positions: Where tokens stand, if not where the folder's configuration says (Omni-RoPE, unless it was
            saved with another scheme).
        backend: Attention kernel, see `omnigen2.dit.attend`.

    Raises:
        CheckpointError: If a file is missing or broken, a key is missing or unexpected, or a shape or type is wrong.
        FileNotFoundError: If there is no such folder.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"no folder {directory}; expected one with config.json and {WEIGHTS}*.safetensors")
    if not (directory / "config.json").exists():
        raise CheckpointError(f"{directory} has no config.json; is it a transformer's folder?")
    config = dict(read_object(directory / "config.json", CheckpointError, "download the file again").values)
    try:
        with torch.device("meta"):
            model = model_from_config(config, positions, backend)
    except ValueError as error:
        raise CheckpointError(f"{directory / 'config.json'}: {error}") from error
    wanted = {released_key(name): name for name in model.state_dict()}
    files = weight_files(directory, WEIGHTS, CheckpointError, EXPORT)
    place = next(iter(files)) if len(files) == 1 else directory / INDEX
    compare(place, set(wanted), {key for header in files.values() for key in header}, IMPLIED, CheckpointError)
    for path, header in files.items():
        with _open(path) as shard:
            for key in header:
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
    placed = tensor.to(device, dtype)
    if placed.data_ptr() % (FOUR * placed.element_size()):
        placed = placed.clone()
    setattr(owner, leaf, nn.Parameter(placed, requires_grad=placed.is_floating_point()))


def _write_json(path: Path, content: dict[str, Any]) -> Path:
    _part(path).write_text(json.dumps(content, indent=2) + "\n")
    return _part(path).replace(path)


def _part(path: Path) -> Path:
    """Where a file is written before it takes its name, so that no half file ever carries it."""
    return path.with_name(path.name + ".part")
