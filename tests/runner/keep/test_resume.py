"""A run that is killed at any moment and continued gives the same numbers and weights, bit for bit."""

import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from omnigen2.runner.keep.resume import ResumePoint, roll_back
from omnigen2.runner.keep.state import random_states, set_random_states
from omnigen2.runner.plan.config import Config
from tests.runner.recipes import PLAIN, write
from tests.runner.runs import Layers, in_child, layers, outcome
from tests.runner.toy_parts import Kill

HOOKS = (
    "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end", "on_validation_end",
    "on_save_checkpoint", "on_train_epoch_end", "on_train_end",
)  # fmt: skip
MODEL_CHECKPOINT = {
    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
    "init_args": {"every_n_train_steps": 1},
}
LONG = layers(2, 100, max_steps=17, val_check_interval=3, check_val_every_n_epoch=None)
SETUPS: dict[str, Layers] = {
    "two epochs, validation and checkpoint at the same steps": layers(5, 10, max_steps=17, val_check_interval=5),
    "one long epoch, checkpoints between validations": LONG,
    "metrics gathered over epochs, checkpoints within them": layers(
        1, 8, "EpochNet", max_steps=-1, max_epochs=2, val_check_interval=4
    ),
    "a shuffled loader, checkpoints at the end of each epoch": layers(
        0, 5, kind="shuffled", max_steps=-1, max_epochs=3, val_check_interval=1.0
    ),
    "no validation at the end of an epoch": layers(0, 7, max_steps=16, val_check_interval=3),
    "no validation at all, metrics gathered over epochs": layers(
        0, 5, "EpochNet", max_steps=12, max_epochs=3, limit_val_batches=0
    ),
    "accumulated gradients, the interval of the recipe's own checkpoints": layers(
        None, 5, max_steps=-1, max_epochs=3, val_check_interval=1.0, limit_val_batches=0, accumulate_grad_batches=2,
        callbacks=[MODEL_CHECKPOINT],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SETUPS)
def test_killed_and_continued_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    config = Config([f"--config={write(tmp_path / 'recipe.yaml', PLAIN, *SETUPS[name])}"])
    assert in_child(config, tmp_path / "whole", None) == 0
    whole = outcome(tmp_path / "whole")

    @given(kills=st.lists(st.tuples(st.sampled_from(HOOKS), st.integers(1, 17)), min_size=1, max_size=2))
    @example(kills=[("on_before_optimizer_step", 1)])  # in the middle of the first accumulated step
    @example(kills=[("on_train_batch_start", 8)])  # after the first epoch
    @example(kills=[("on_train_batch_start", 11), ("on_train_batch_start", 5)])  # after each of two epochs
    @example(kills=[("on_train_epoch_end", 1), ("on_train_batch_start", 4)])  # at the end of one epoch, and in the next
    @example(kills=[("on_train_epoch_end", 1)])  # between the last checkpoint of an epoch and its end
    def law(kills: list[tuple[str, int]]) -> None:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        for hook, count in kills:
            assert in_child(config, folder, Kill(hook, count)) in (0, 9)
        assert in_child(config, folder, None) == 0
        assert outcome(folder) == whole
        shutil.rmtree(folder)

    law()


def test_rows_after_the_last_checkpoint_and_half_written_files_are_dropped(tmp_path: Path) -> None:
    config = Config([f"--config={write(tmp_path / 'recipe.yaml', PLAIN, *LONG)}"])
    folder = tmp_path / "run"
    assert in_child(config, folder, Kill("on_train_batch_end", 8)) == 9
    assert (folder / "metrics.csv").read_text().count("\n") == 1 + 7 + 2
    (folder / "checkpoints" / "resume-00000099.ckpt").write_bytes(b"half")
    checkpoint, step = roll_back(folder) or (None, None)
    assert step == 6
    assert checkpoint == folder / "checkpoints" / "resume-00000006.ckpt"
    assert (folder / "metrics.csv").read_text().count("\n") == 1 + 6 + 2
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["resume-00000006.ckpt", "resume.json"]


def test_a_run_without_a_checkpoint_starts_from_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss\n0,1.0\n")
    assert roll_back(tmp_path) is None
    assert not (tmp_path / "metrics.csv").exists()


def test_all_random_states_are_restored_from_a_safe_file(tmp_path: Path) -> None:
    np.random.randn()  # leaves half of a pair behind
    torch.save(random_states(), tmp_path / "states.pt")
    drawn = (torch.rand(3).tolist(), np.random.randn(3).tolist())
    python = random.getstate()
    states = torch.load(tmp_path / "states.pt", weights_only=True)
    set_random_states(states)
    assert (torch.rand(3).tolist(), np.random.randn(3).tolist()) == drawn
    states["python"] = random_states()["python"]
    random.setstate(python)
    set_random_states(states)
    first = random.random()
    set_random_states(states)
    assert random.random() == first


@pytest.mark.parametrize("arguments", [(-1, 1), (0, 0)])
def test_wrong_intervals_are_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"got {arguments[0]} and {arguments[1]}"):
        ResumePoint(*arguments)
