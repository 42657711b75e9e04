"""Files that models work out of: what happens to them is told where it matters, and only there."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from omnigen2.errors import UserError
from omnigen2.files import MappedFiles, save_tensors


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def write_over(path: Path) -> None:
    """Another content of the same size, a while later."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    later = path.stat().st_mtime_ns + 10**7
    os.utime(path, ns=(later, later))


def renamed(path: Path) -> None:
    save_tensors({"weight": torch.zeros(3)}, path)


HARMLESS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "another by renaming": renamed,
    "deleted": Path.unlink,
    "read and shown": lambda path: (path.read_bytes(), path.chmod(0o600)),
}


@pytest.mark.parametrize("harm", [grow, write_over, lambda path: os.truncate(path, 9)], ids=["grown", "over", "cut"])
def test_a_file_that_is_written_over_is_told(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path in paths:
        save_tensors({"weight": torch.ones(3)}, path)
    files = MappedFiles(paths, torch.float32)
    files.check()
    harm(paths[1])
    with pytest.raises(UserError, match=r"b\.safetensors was written over.*\n  load the model again"):
        files.check()


@pytest.mark.parametrize("change", HARMLESS)
def test_what_leaves_the_pages_alone_is_no_matter(tmp_path: Path, change: str) -> None:
    save_tensors({"weight": torch.ones(3)}, path := tmp_path / "a.safetensors")
    files = MappedFiles([path], torch.float32)
    HARMLESS[change](path)
    files.check()


def test_a_file_of_another_type_is_not_mapped(tmp_path: Path) -> None:
    save_tensors({"weight": torch.ones(3)}, path := tmp_path / "a.safetensors")
    files = MappedFiles([path], torch.bfloat16)
    grow(path)
    files.check()


def test_it_is_the_same_file_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_tensors({"weight": torch.ones(3)}, path := Path("a.safetensors"))
    files = MappedFiles([path], torch.float32)
    grow(path)
    monkeypatch.chdir("/")
    with pytest.raises(UserError, match="written over"):
        files.check()
