"""Memory that a training frees stays with it; where that is not wanted, nothing is changed."""

import platform
import resource
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
from lightning.pytorch import LightningModule, Trainer
from torch import device

from omnigen2.cli import main
from omnigen2.runner.execute import pages
from omnigen2.runner.execute.pages import LARGEST, KeptPages, keep_pages
from tests.runner.recipes import PLAIN, write

OPTIONS = ("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


@pytest.fixture(autouse=True)
def no_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OPTIONS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One item for each time that it was asked for."""
    asked: list[bool] = []
    monkeypatch.setattr(pages, "keep_pages", lambda: asked.append(True) or True)
    return asked


def faults() -> int:
    """Pages that the system had to find for this thread while it made and freed the same arrays again."""

    def step() -> None:
        arrays = [np.ones(LARGEST - 2**20, np.uint8) for _ in range(3)]
        assert sum(int(array[-1]) for array in arrays) == 3

    step()
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(4):
        step()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_the_same_arrays_need_no_new_pages() -> None:
    assert keep_pages()
    assert faults() < 100  # 180 huge or 95,000 usual ones otherwise


@pytest.mark.parametrize(("name", "value"), zip(OPTIONS, ("1", "1", "glibc.malloc.trim_threshold=1"), strict=True))
def test_what_the_environment_says_stays(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert not keep_pages()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert not keep_pages()


def test_a_run_on_a_cpu_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: list[bool]) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("plain.yaml"), PLAIN)
    assert main(["run", "plain.yaml"]) == 0
    assert kept == [True]


@pytest.mark.parametrize(("kind", "stage", "expected"), [("cpu", "fit", 1), ("cuda", "fit", 0), ("cpu", "validate", 0)])
def test_only_training_on_a_cpu_does(kind: str, stage: str, expected: int, kept: list[bool]) -> None:
    trainer = MagicMock(Trainer, strategy=SimpleNamespace(root_device=device(kind)))
    KeptPages().setup(trainer, MagicMock(LightningModule), stage)
    assert len(kept) == expected
