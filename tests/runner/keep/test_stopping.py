"""A run that a signal ends goes on from that very step and equals one that was never stopped."""

import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer

from omnigen2.cli import main
from omnigen2.files import read_json
from omnigen2.runner.keep.stopping import SIGNALS, SaveOnSignal
from tests.runner.keep.setups import HOOKS, Setup, fresh, setups, whole
from tests.runner.keep.setups import config_of as config_of_setup
from tests.runner.recipes import PARTS, PLAIN, checkpoints_every, config_of, write
from tests.runner.runs import outcome, run_with
from tests.runner.toy_parts import Send

IN_TRAINING = tuple(hook for hook in HOOKS if "fit" not in hook and "sanity" not in hook)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


def send(number: int, hook: str, count: int) -> Send:
    """A signal in training: before `on_train_start` it does what it always does."""
    return Send(number, hook, count, while_checking=False)


@settings(max_examples=8)
@given(setup=setups(), hook=st.sampled_from(IN_TRAINING), count=st.integers(1, 10), number=st.sampled_from(SIGNALS))
@example(Setup(6, 12, every=0, validation=3), "on_train_batch_end", 6, signal.SIGTERM)  # the last batch of an epoch
@example(Setup(7, 12, every=0, validation=3), "on_train_batch_end", 7, signal.SIGTERM)  # and without a validation
@example(Setup(4, 9, every=0, validation=0), "on_train_batch_start", 8, signal.SIGUSR1)
@example(Setup(6, 12, every=0, validation=3), "on_train_batch_end", 3, signal.SIGINT)  # a validation is due
@example(Setup(7, 6, every=0, accumulate=2), "on_train_batch_end", 3, signal.SIGTERM)
def test_a_stopped_run_goes_on_from_that_very_step(setup: Setup, hook: str, count: int, number: int) -> None:
    expected, folder, before = whole(setup), fresh(), handlers()
    config, sent = config_of_setup(setup), send(number, hook, count)
    status = run_with(config, folder, sent)
    if status == 0:  # the signal never came, or with the last step
        assert sent.left > 0 or (read_json(folder / "run.json") or {})["status"] == "finished"
    else:
        assert status == 128 + number
        assert not (folder / "run.json").exists()
        saved = (read_json(folder / "checkpoints" / "resume.json") or {})["step"]
        lines = (folder / "metrics.csv").read_text().splitlines()
        assert saved == 1 + max(int(line.split(",")[0]) for line in lines[1:])
        if setup.kind != "shuffled":  # such a loader goes on at the ends of epochs
            assert run_with(config, folder) == 0
    if status == 0 or setup.kind != "shuffled":
        assert outcome(folder) == expected
    assert handlers() == before
    shutil.rmtree(folder)


def test_a_stopped_command_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = {"number": int(signal.SIGTERM), "hook": "on_train_batch_end", "count": 4, "while_checking": False}
    callbacks = [{"class_path": f"{PARTS}.Send", "init_args": arguments}]
    recipe = str(write(Path("plain.yaml"), PLAIN, {"trainer": {"callbacks": callbacks}}))
    with pytest.raises(SystemExit) as stopped:
        main(["run", recipe])
    assert stopped.value.code == 143
    assert "stopped by SIGTERM after step 4; the same command goes on from there" in capsys.readouterr().err
    assert main(["run", recipe]) == 0  # four more batches do not come
    run_with(config_of(write(Path("whole.yaml"), PLAIN)), tmp_path / "whole")
    assert outcome(Path("runs/plain")) == outcome(tmp_path / "whole")


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    config = config_of(write(tmp_path / "recipe.yaml", PLAIN, checkpoints_every(0)))
    twice = (send(signal.SIGINT, "on_train_batch_start", 2), send(signal.SIGINT, "on_before_optimizer_step", 2))
    with pytest.raises(KeyboardInterrupt):
        run_with(config, tmp_path / "run", *twice)
    assert not (tmp_path / "run" / "checkpoints" / "resume.json").exists()


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    config = config_of(write(tmp_path / "recipe.yaml", PLAIN, checkpoints_every(0)))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_with(config, tmp_path / "run", send(signal.SIGINT, "on_train_batch_end", 2)) == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_trainer_without_a_resume_point_is_refused() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=False)
    with pytest.raises(TypeError, match="SaveOnSignal needs a ResumePoint among the trainer's callbacks"):
        SaveOnSignal().on_train_start(trainer, LightningModule())
