"""Files of tensors: written whole, for whom the umask lets, and read without running what is inside."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from omnigen2.errors import UserError
from omnigen2.files import read_weights, save_tensors


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "ran"))


@pytest.mark.parametrize("name", ["a.bin", "a.pt", "a.ckpt"])
def test_nothing_inside_a_file_is_run(name: str, tmp_path: Path) -> None:
    torch.save({"weight": Evil(tmp_path / "ran")}, tmp_path / name)
    with pytest.raises(UserError, match="holds more than weights and was not opened"):
        read_weights(tmp_path / name)
    (tmp_path / name).write_bytes(pickle.dumps(Evil(tmp_path / "ran"), protocol=2))
    with pytest.raises(UserError):
        read_weights(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        read_weights(tmp_path / "none.bin")
    for name in ("broken.bin", "broken.safetensors", "weights.txt"):
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(UserError):
            read_weights(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UserError, match="holds a list"):
        read_weights(tmp_path / "list.pt")


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_what_is_saved_is_for_whom_the_umask_lets(umask: int, tmp_path: Path) -> None:
    path, tensors = tmp_path / "x.safetensors", {"a": torch.arange(6).reshape(2, 3).T, "b": torch.ones(2).bfloat16()}
    before = os.umask(umask)
    try:
        save_tensors(tensors, path, {"format": "pt"})
        save_tensors(tensors, path, {"format": "2"})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert all(torch.equal(tensors[name], found) for name, found in read_weights(path).items())
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == {"format": "2"}
    assert list(tmp_path.iterdir()) == [path]
