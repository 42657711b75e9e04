"""`python -m …` in a process that is forked from one that has imported all it needs, which spares it those seconds."""

import multiprocessing
import os
import runpy
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from io import BufferedWriter
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning.fabric.utilities import rank_zero
from lightning.pytorch.strategies.launchers import subprocess_script

from omnigen2.runner.execute import local
from tests.runner.execute.jobs import Job, does_nothing

SERVER: Any = forkserver._forkserver  # type: ignore[attr-defined]
LIMIT = 120.0


def serve() -> str:
    """Start the server that the runner forks from, as the runner does, if there is none yet; return its address."""
    if SERVER._forkserver_address is None:
        modules = ["omnigen2.commands.run", __name__, "tests.runner.toy_parts"]
        with local.LocalProcesses(1, modules=modules) as processes:
            assert processes.submit(does_nothing, Job(".")).result() == 0
    return str(SERVER._forkserver_address)


class Forked:
    """What `subprocess.Popen` is for `[python, "-m", module, …]`; its end is that of the `with` block.

    Args:
        command: The words.
        env: The environment; that of this process if not given.
        cwd: The folder in which it is; that of this process if not given.
        log: Takes what it says.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        log: Path | None = None,
    ) -> None:
        self.log = log
        words = (list(command[2:]), dict(env or os.environ), cwd or os.getcwd(), log, serve())
        self._process = multiprocessing.get_context("forkserver").Process(target=_begin, args=words)
        self._process.start()

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.join()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid or 0, number)

    def wait(self) -> int:
        """The status with which it ends."""
        self._process.join(LIMIT)
        assert self.returncode is not None, f"it did not end in {LIMIT} s: {self.said()}"
        return self.returncode

    def said(self) -> str:
        """What it has said so far."""
        return "" if self.log is None or not self.log.exists() else self.log.read_text()


def run(log: Path, *words: str, **environment: str) -> Forked:
    """Start `lightning run`."""
    return Forked([sys.executable, "-m", "omnigen2", "run", *words], os.environ | environment, log=log)


def torchrun() -> list[dict[str, str]]:
    """What torchrun says to each of two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    both = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
    both |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [both | {"RANK": rank, "LOCAL_RANK": rank} for rank in "01"]


def child(address: str, work: Any, job: Any, environment: Mapping[str, str], command: Sequence[str]) -> None:
    """What a process of `LocalProcesses` does, with a forked process in place of an interpreter."""

    def call(command: Sequence[str], stdout: BufferedWriter, stderr: BufferedWriter) -> int:
        with Forked(command, log=Path(stdout.name)) as process:
            return process.wait()

    _reach(address)
    local.subprocess = SimpleNamespace(call=call)  # type: ignore[attr-defined]
    local._child(work, job, environment, command)  # pyright: ignore[reportPrivateUsage]


def _reach(address: str) -> None:
    SERVER._forkserver_address, SERVER.ensure_running = address, lambda: None


def _begin(words: list[str], environment: dict[str, str], folder: str, log: Path | None, address: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if log is not None:
        with log.open("a") as file:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
    torch.set_num_threads(1)
    rank_zero.rank_zero_only.rank = int(environment.get("RANK", environment.get("LOCAL_RANK", 0)))  # pyright: ignore
    _reach(address)  # its children are forked likewise
    subprocess_script.subprocess = SimpleNamespace(Popen=Forked)  # type: ignore[attr-defined]
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
