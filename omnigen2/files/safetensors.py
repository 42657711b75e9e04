"""Files of tensors: written whole, and read without running anything that is inside."""

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnigen2.errors import UserError
from omnigen2.files.text import written_beside

PICKLED = (".bin", ".pt", ".pth", ".ckpt")
BROKEN = (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError, struct.error)
"""What torch raises on files that `torch.save` did not write."""


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a `.safetensors` file all at once.

    It may be read by whom the umask lets: safetensors itself writes files that are for their owner alone.

    Args:
        tensors: On any device; none shares memory with another.
        path: In a folder that exists.
        metadata: Texts that travel with them.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with written_beside(path) as draft:
        draft.unlink(missing_ok=True)
        draft.touch()
        mode = draft.stat().st_mode
        save_file(whole, draft, None if metadata is None else dict(metadata))
        draft.chmod(mode)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read tensors by name, on the host; of a checkpoint with a `state_dict`, that.

    Args:
        path: A `.safetensors` file, or one written by `torch.save` (`.bin`, `.pt`, `.pth`, or Lightning's `.ckpt`).
            The latter are read with `weights_only=True`: what is no plain data is refused, not run.

    Raises:
        UserError: If the file is missing, broken, of another kind or holds more than weights.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, expected a file of weights", "give the path of a file in it")
    if not path.is_file():
        raise UserError(f"there is no file {path}", "check the path")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path} is not a whole safetensors file: {error}", "write it again") from error
    if path.suffix not in PICKLED:
        raise UserError(
            f"{path} is no file of weights by its name", f"expected .safetensors or one of {', '.join(PICKLED)}"
        )
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} holds more than weights and was not opened: {reason}",
            "ask for a .safetensors file; this library never runs what is inside a file",
        ) from error
    except BROKEN as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read: {reason}", "is the file whole?") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}", "expected tensors by name")
    named = cast(dict[str, Any], content)
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}
