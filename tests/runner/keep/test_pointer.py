"""A run of which something is missing or damaged: told in two lines, nothing is lost, and put right it goes on."""

import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy

from omnigen2.errors import UserError
from omnigen2.runner.keep.folder import LOCK
from omnigen2.runner.keep.pointer import check_strategy, committed_checkpoint
from tests.runner.keep.setups import Setup, config_of, whole
from tests.runner.runs import outcome, run_with
from tests.runner.stops import Raise, Stopped

SETUP = Setup(4, 6, every=2)
REMEDY = "\n  put it back as it was, or start over with --restart, which deletes the run$"


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The folder of a run that was stopped in its fifth step, with a draft beside its checkpoint."""
    with pytest.raises(Stopped):
        run_with(config_of(SETUP), tmp_path / "run", Raise(Stopped(), "on_train_batch_end", 5))
    return tmp_path / "run"


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != LOCK]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def pointer(text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "checkpoints/resume.json").write_text(text)


def cut(folder: Path) -> None:
    checkpoint = committed_checkpoint(folder)
    assert checkpoint is not None
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])


def unsafe(folder: Path) -> None:
    checkpoint = committed_checkpoint(folder)
    assert checkpoint is not None
    torch.save(torch.load(checkpoint, weights_only=True) | {"path": PurePosixPath("x")}, checkpoint)


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "half a pointer": (pointer('{"checkpoint": "resu'), f"resume.json .*{REMEDY}"),
    "no object": (pointer("[]"), f"resume.json is .*, expected an object{REMEDY}"),
    "no step": (pointer('{"checkpoint": "resume-00000004.ckpt", "rows": 1}'), f"has no step, expected .*{REMEDY}"),
    "no checkpoint": (
        lambda folder: (folder / "checkpoints/resume-00000004.ckpt").unlink(),
        f"resume.json names resume-00000004.ckpt, which is not there{REMEDY}",
    ),
    "half a checkpoint": (cut, f"resume-00000004.ckpt is no whole checkpoint{REMEDY}"),
    "a checkpoint that is not safe": (
        unsafe,
        r"holds pathlib.PurePosixPath, which are not loaded .*\n  allow them with torch.serialization.add_safe_globals",
    ),
    "no metrics": (lambda folder: (folder / "metrics.csv").unlink(), f"has 0 rows, but the checkpoint .* 6{REMEDY}"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_damaged_run_is_told_and_put_right_it_goes_on(name: str, stopped: Path) -> None:
    spoil, words = FAULTS[name]
    before = contents(stopped)
    spoil(stopped)
    damaged = contents(stopped)
    for _ in range(2):
        with pytest.raises(UserError, match=words):
            run_with(config_of(SETUP), stopped)
        assert contents(stopped) == damaged
    for path, content in before.items():
        (stopped / path).write_bytes(content)
    assert run_with(config_of(SETUP), stopped) == 0
    assert outcome(stopped) == whole(SETUP)


def test_the_copy_of_a_run_goes_on(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "copy")
    shutil.rmtree(stopped)
    assert run_with(config_of(SETUP), tmp_path / "copy") == 0
    assert outcome(tmp_path / "copy") == whole(SETUP)


class Remembers(Callback):
    """Its state is no plain value."""

    def state_dict(self) -> dict[str, Any]:
        return {"path": PurePosixPath("x")}


def test_a_checkpoint_that_could_not_be_loaded_is_said_at_once_and_the_run_is_not_lost(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="holds pathlib.PurePosixPath, .* a stopped run could not go on") as said:
        assert run_with(config_of(SETUP), tmp_path, Remembers()) == 0
    assert len([one for one in said if "for safety" in str(one.message)]) == 1
    assert (tmp_path / "run.json").is_file()


def test_a_folder_of_shards_is_for_strategies_that_shard(tmp_path: Path) -> None:
    check_strategy(None, SingleDeviceStrategy("cpu"))
    check_strategy(tmp_path, ModelParallelStrategy())
    check_strategy(tmp_path / "file.ckpt", SingleDeviceStrategy("cpu"))
    for strategy in (SingleDeviceStrategy("cpu"), DDPStrategy()):
        with pytest.raises(UserError, match=f"is a folder of shards, which {type(strategy).__name__} cannot read"):
            check_strategy(tmp_path, strategy)
