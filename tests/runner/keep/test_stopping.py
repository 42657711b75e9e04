"""A run that a signal ends goes on from that very step and equals one that was never stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback, LightningModule, Trainer

from omnigen2.files.text import read_json
from omnigen2.runner.execute.run import Output, run
from omnigen2.runner.keep.stopping import SaveOnSignal
from omnigen2.runner.plan.config import Config
from tests.runner.keep.test_resume import outcome
from tests.runner.recipes import PARTS, PLAIN, checkpoints_every, write

SILENT = Output(say=lambda line: None, send=None, terminal=False, verbose=False)
HOOKS = ("on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end", "on_validation_end")
SETUPS: dict[str, tuple[dict[str, Any], ...]] = {
    "two epochs and validations": (
        {"trainer": {"max_steps": 12, "val_check_interval": 3}, "data": {"init_args": {"steps": 6}}},
        checkpoints_every(0),
    ),
    "no validation at the end of an epoch": (
        {"trainer": {"max_steps": 12, "val_check_interval": 3}, "data": {"init_args": {"steps": 7}}},
        checkpoints_every(0),
    ),
    "no validation at all": (
        {"trainer": {"max_steps": 9, "limit_val_batches": 0}, "data": {"init_args": {"steps": 4}}},
        checkpoints_every(0),
    ),
    "accumulated gradients": (
        {
            "trainer": {"max_steps": 6, "val_check_interval": 1.0, "accumulate_grad_batches": 2},
            "model": {"class_path": f"{PARTS}.EpochNet"},
            "data": {"init_args": {"steps": 7}},
        },
        checkpoints_every(0),
    ),
}


class Send(Callback):
    """Sends a signal to this process at the n-th call of a hook in training."""

    def __init__(self, number: int, hook: str, count: int) -> None:
        self.number = number
        self.left = count
        setattr(self, hook, self._count)

    def _count(self, trainer: Trainer, *arguments: Any) -> None:
        if trainer.sanity_checking:  # before on_train_start a signal does what it always does
            return
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def run_with(config: Config, folder: Path, *extra: Callback) -> int:
    """Run here; return the exit status."""
    build = config.build
    config.build = lambda arguments: build(lambda callbacks, loggers: arguments([*callbacks, *extra], loggers))  # type: ignore[method-assign]
    try:
        run(config, folder, "a command", restart=False, output=SILENT)
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        config.build = build  # type: ignore[method-assign]
    return 0


@pytest.mark.parametrize("name", SETUPS)
def test_a_stopped_run_goes_on_from_that_very_step(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    config = Config([f"--config={write(home / 'recipe.yaml', PLAIN, *SETUPS[name])}"])
    assert run_with(config, home / "whole") == 0
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]

    @settings(max_examples=6)
    @given(st.sampled_from(HOOKS), st.integers(1, 12), st.sampled_from([signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]))
    @example(hook="on_train_batch_end", count=6, number=signal.SIGTERM)  # the last batch of an epoch
    @example(hook="on_train_batch_end", count=7, number=signal.SIGTERM)
    @example(hook="on_train_batch_start", count=8, number=signal.SIGUSR1)
    @example(hook="on_train_batch_end", count=3, number=signal.SIGINT)  # a validation is due
    def law(hook: str, count: int, number: int) -> None:
        folder = tmp_path_factory.mktemp("run")
        sent = Send(number, hook, count)
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
        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == handlers

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
    twice = (Send(signal.SIGINT, "on_train_batch_start", 2), Send(signal.SIGINT, "on_before_optimizer_step", 2))
    with pytest.raises(KeyboardInterrupt):
        run_with(config, tmp_path / "run", *twice)
    assert not (tmp_path / "run" / "checkpoints" / "resume.json").exists()


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    config = Config([f"--config={write(tmp_path / 'recipe.yaml', PLAIN, checkpoints_every(0))}"])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_with(config, tmp_path / "run", Send(signal.SIGINT, "on_train_batch_end", 2)) == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_trainer_without_a_resume_point_is_refused() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=False)
    with pytest.raises(TypeError, match="SaveOnSignal needs a ResumePoint among the trainer's callbacks"):
        SaveOnSignal().on_train_start(trainer, LightningModule())
