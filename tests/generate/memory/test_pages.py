"""Pages of files are given back and come back as they were; nothing else is touched."""

import mmap
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from omnigen2.generate.memory import pages
from omnigen2.generate.memory.pages import drop, read_ahead, read_now

PAGE = mmap.PAGESIZE
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which pages may be given back")


def resident(tensor: torch.Tensor) -> int:
    """Bytes of the pages of a tensor that the process has in memory."""
    start, end = tensor.data_ptr() // PAGE, -(-(tensor.data_ptr() + tensor.nbytes) // PAGE)
    with Path("/proc/self/pagemap").open("rb", buffering=0) as told:
        told.seek(8 * start)
        entries = torch.frombuffer(bytearray(told.read(8 * (end - start))), dtype=torch.int64)
    return int((entries < 0).sum()) * PAGE  # the highest bit says that a page is there


def mapped(folder: Path, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
    save_file(tensors, folder / "a.safetensors")
    with safe_open(folder / "a.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in tensors}


@linux
def test_pages_are_given_back_and_come_back(tmp_path: Path) -> None:
    values = torch.arange(500_000.0)
    weight = mapped(tmp_path, weight=values)["weight"]
    for fetch in (read_now, lambda tensors: [float(one.sum()) for one in tensors]):
        fetch([weight])
        assert resident(weight) >= weight.nbytes
        assert drop([weight]) >= weight.nbytes
        assert resident(weight) == 0
    read_ahead([weight])
    assert torch.equal(weight, values)
    assert drop([weight]) > 0
    assert drop([weight]) == 0


@given(places=st.lists(st.integers(0, 49_999), min_size=1, max_size=5))
def test_what_was_written_stays(tmp_path_factory: pytest.TempPathFactory, places: list[int]) -> None:
    values = torch.arange(50_000.0)
    found = mapped(tmp_path_factory.mktemp("w"), before=values, weight=values.clone(), behind=values.clone())
    written = values.clone()
    for tensor in (found["weight"], written):
        tensor[places] = -1.0
    drop(found.values())
    assert torch.equal(found["weight"], written)
    assert torch.equal(found["before"], values)
    assert torch.equal(found["behind"], values)


def test_memory_that_is_no_files_stays() -> None:
    own = torch.arange(300_000.0)
    assert drop([own, own[5:9], torch.empty(0)]) == 0
    assert torch.equal(own, torch.arange(300_000.0))


def test_where_nobody_tells_nothing_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = mapped(tmp_path, weight=torch.arange(50_000.0))["weight"]
    weight.sum()
    monkeypatch.setattr(pages, "PAGEMAP", tmp_path / "nothing")
    assert drop([weight]) == 0


def test_neighbours_are_one_range() -> None:
    whole = torch.zeros(10 * PAGE, dtype=torch.uint8)
    parts = [whole[: 3 * PAGE], whole[3 * PAGE : 5 * PAGE], whole[8 * PAGE :]]
    ranges = list(pages._ranges(parts))
    assert len(ranges) == 2
    assert ranges[0][1] < ranges[1][0]
