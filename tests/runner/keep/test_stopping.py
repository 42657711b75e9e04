"""A run that a signal ends goes on from that very step and equals one that was never stopped."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer

from omnigen2.files import read_json
from omnigen2.runner.keep.stopping import SIGNALS, SaveOnSignal
from omnigen2.runner.plan.config import Config
from tests.runner.recipes import PLAIN, checkpoints_every, write
from tests.runner.runs import Layers, layers, outcome, run_with
from tests.runner.toy_parts import Send

HOOKS = ("on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end", "on_validation_end")
SETUPS: dict[str, Layers] = {
    "two epochs and validations": layers(0, 6, max_steps=12, val_check_interval=3),
    "no validation at the end of an epoch": layers(0, 7, max_steps=12, val_check_interval=3),
    "no validation at all": layers(0, 4, max_steps=9, limit_val_batches=0),
    "accumulated gradients": layers(0, 7, "EpochNet", max_steps=6, val_check_interval=1.0, accumulate_grad_batches=2),
}


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


def send(number: int, hook: str, count: int) -> Send:
    """A signal in training: before `on_train_start` it does what it always does."""
    return Send(number, hook, count, while_checking=False)


@pytest.mark.parametrize("name", SETUPS)
def test_a_stopped_run_goes_on_from_that_very_step(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    config = Config([f"--config={write(home / 'recipe.yaml', PLAIN, *SETUPS[name])}"])
    assert run_with(config, home / "whole") == 0
    before = handlers()

    @settings(max_examples=6)
    @given(st.sampled_from(HOOKS), st.integers(1, 12), st.sampled_from(SIGNALS))
    @example(hook="on_train_batch_end", count=6, number=signal.SIGTERM)  # the last batch of an epoch
    @example(hook="on_train_batch_end", count=7, number=signal.SIGTERM)
    @example(hook="on_train_batch_start", count=8, number=signal.SIGUSR1)
    @example(hook="on_train_batch_end", count=3, number=signal.SIGINT)  # a validation is due
    def law(hook: str, count: int, number: int) -> None:
        folder = tmp_path_factory.mktemp("run")
        sent = send(number, hook, count)
        status = run_with(config, folder, sent)
        if status == 0:  # the signal never came, or with the last step
            assert sent.left > 0 or (read_json(folder / "run.json") or {})["status"] == "finished"
        else:
            assert status == 128 + number
            assert not (folder / "run.json").exists()
            saved = (read_json(folder / "checkpoints" / "resume.json") or {})["step"]
            lines = (folder / "metrics.csv").read_text().splitlines()
            assert saved == 1 + max(int(line.split(",")[0]) for line in lines[1:])
            assert run_with(config, folder) == 0
        assert outcome(folder) == outcome(home / "whole")
        assert handlers() == before

    law()


def test_a_terminated_process_says_how_to_go_on(tmp_path: Path) -> None:
    layers = ({"trainer": {"max_steps": 60, "val_check_interval": 100}, "data": {"init_args": {"delay": 0.05}}},)
    recipe = write(tmp_path / "recipe.yaml", PLAIN, *layers, {"data": {"init_args": {"steps": 100}}})
    command = [sys.executable, "-m", "omnigen2", "run", str(recipe), "--out", str(tmp_path / "run")]
    metrics = tmp_path / "run" / "metrics.csv"
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        while process.poll() is None and not (metrics.is_file() and metrics.read_text().count("\n") > 3):
            time.sleep(0.05)
        process.terminate()
        _, words = process.communicate(timeout=60)
    assert process.returncode == 143, words
    step = (read_json(tmp_path / "run" / "checkpoints" / "resume.json") or {})["step"]
    assert f"stopped by SIGTERM after step {step}; the same command goes on from there" in words
    assert metrics.read_text().count("\n") == 1 + step
    config = Config([f"--config={recipe}"])
    assert run_with(config, tmp_path / "run") == run_with(config, tmp_path / "whole") == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    config = Config([f"--config={write(tmp_path / 'recipe.yaml', PLAIN, checkpoints_every(0))}"])
    twice = (send(signal.SIGINT, "on_train_batch_start", 2), send(signal.SIGINT, "on_before_optimizer_step", 2))
    with pytest.raises(KeyboardInterrupt):
        run_with(config, tmp_path / "run", *twice)
    assert not (tmp_path / "run" / "checkpoints" / "resume.json").exists()


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    config = Config([f"--config={write(tmp_path / 'recipe.yaml', PLAIN, checkpoints_every(0))}"])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_with(config, tmp_path / "run", send(signal.SIGINT, "on_train_batch_end", 2)) == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_trainer_without_a_resume_point_is_refused() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=False)
    with pytest.raises(TypeError, match="SaveOnSignal needs a ResumePoint among the trainer's callbacks"):
        SaveOnSignal().on_train_start(trainer, LightningModule())
