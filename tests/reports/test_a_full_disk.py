"""The disk was full, or the memory, and a run ended with a traceback that said nothing of what to do.

It says which file could not be written and from where the same command goes on; and it does, to the same numbers.
"""

import errno
import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from omnigen2.cli import main
from omnigen2.errors import UserError
from tests.runner.recipes import PLAIN, checkpoints_every, config_of, write
from tests.runner.runs import outcome, run_with
from tests.runner.stage_recipes import PLAIN as LINEAR


@contextmanager
def small_disk() -> Generator[None]:
    """Puts the largest size of files back to what it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Fills(Callback):
    """Lets the disk be full from the n-th call of a hook on."""

    def __init__(self, hook: str, count: int, size: int) -> None:
        self.left, self.size = count, size
        setattr(self, hook, self._count)

    def _count(self, trainer: Trainer, *arguments: Any) -> None:
        self.left -= 1
        if self.left == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize(
    ("recipe", "hook", "count", "size"),
    [
        (PLAIN, "on_train_batch_end", 4, 1500),  # the next checkpoint, the second one
        (PLAIN, "on_train_batch_end", 1, 1500),  # the first one
        (PLAIN, "on_train_batch_end", 4, 10),  # metrics.csv
        (LINEAR, "on_train_end", 1, 100),  # the weights, which torch writes by itself
        (LINEAR, "on_fit_end", 1, 10),  # the report
    ],
)
def test_a_full_disk_is_told_and_the_run_goes_on(
    recipe: dict[str, Any], hook: str, count: int, size: int, tmp_path: Path
) -> None:
    config = config_of(write(tmp_path / "recipe.yaml", recipe, checkpoints_every(2)))
    run_with(config, tmp_path / "whole")
    with small_disk(), pytest.raises(UserError) as told:
        run_with(config, tmp_path / "run", Fills(hook, count, size))
    words = str(told.value)
    assert "could not be written whole" in words
    assert "the same command" in words
    run_with(config, tmp_path / "run")
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


class Raises(Callback):
    """Raises an error at the n-th start of a batch."""

    def __init__(self, error: BaseException, count: int = 4) -> None:
        self.error, self.left = error, count

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.ckpt"), "No space left on device.*a.ckpt"),
        (OSError(errno.EIO, "Input/output error", "b.png"), "refuses a file .*Input/output error.*b.png"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "not enough memory: CUDA out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
    ],
)
def test_what_the_machine_refuses_is_told(error: Exception, words: str, tmp_path: Path) -> None:
    config = config_of(write(tmp_path / "recipe.yaml", PLAIN, checkpoints_every(2)))
    with pytest.raises(UserError, match=rf"(?s){words}.*goes on from .*resume-00000002.ckpt"):
        run_with(config, tmp_path / "run", Raises(error))
    run_with(config, tmp_path / "run")


def test_what_the_code_does_wrong_keeps_its_traceback(tmp_path: Path) -> None:
    config = config_of(write(tmp_path / "recipe.yaml", PLAIN))
    for error in (RuntimeError("shapes"), ValueError("a bug"), KeyError("name")):
        with pytest.raises(type(error), match=str(error.args[0])):
            run_with(config, tmp_path / "run", Raises(error))


def test_what_lightning_and_a_module_refuse_before_training_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("plain.yaml"), PLAIN)
    for option, words in (
        ("--trainer.val_check_interval=100", "val_check_interval"),
        ("--trainer.accelerator=gpu", "No supported gpu backend found"),
        ("--trainer.gradient_clip_algorithm=mean", "gradient_clip_algorithm"),
    ):
        assert main(["run", "plain.yaml", option]) == 2
        assert words in capsys.readouterr().err
        assert not Path("runs/plain/config.yaml").exists()
