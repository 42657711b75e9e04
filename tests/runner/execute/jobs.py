"""What the tests of executors let them do: small functions that need no torch."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from omnigen2.runner.execute.local import LocalProcesses

LIMIT = 30.0


@dataclass(frozen=True)
class Job:
    folder: str
    ends: int | str = 0
    devices: int = 1
    nodes: int = 1
    gpus: int = 0


def ends(job: Job) -> int:
    """Say when it begins and ends, and which devices it has; end as it should."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    _note(job, f"+ {Path(job.folder).name} {devices}")
    time.sleep(0.3 if job.ends == "naps" else 0.02)
    _note(job, f"- {Path(job.folder).name} {devices}")
    match job.ends:
        case "raises":
            raise ValueError("no such luck")
        case "exits":
            sys.exit("with words")
        case "naps":
            return 0
        case int() if job.ends < 0:
            os.kill(os.getpid(), -job.ends)
        case _:
            pass
    return int(job.ends)


def does_nothing(job: Job) -> int:
    """End at once."""
    return 0


def lasts(job: Job) -> int:
    """Start another process, leave the numbers of both, and last longer than any test."""
    other = subprocess.Popen(["sleep", str(LIMIT)])  # noqa: S607
    _leave(job, f"{os.getpid()} {other.pid}")
    time.sleep(LIMIT)
    return 0


def leaves(job: Job) -> int:
    """End, but not the process that it has started."""
    _leave(job, str(subprocess.Popen(["sleep", str(LIMIT)]).pid))  # noqa: S607
    return 0


def is_parent(job: Job) -> int:
    """Have a job of its own that lasts."""
    inner = Path(job.folder, "inner")
    inner.mkdir()
    (inner / "parent").write_text(str(os.getpid()))
    with LocalProcesses(1) as processes:
        processes._context = get_context("fork")  # no second server
        return processes.submit(lasts, Job(str(inner))).result()


def stops_once(job: Job) -> int:
    """End the first time as `SaveOnSignal` does before a time limit."""
    times = Path(job.folder, "times")
    with times.open("a") as file:
        file.write("x")
    if len(times.read_text()) == 1:
        sys.exit(128 + signal.SIGUSR2)
    return 0


def wait_for(path: Path) -> str:
    """What stands in a file, as soon as it is there."""
    end = time.monotonic() + LIMIT / 2
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.01)
    return path.read_text()


def gone(number: int) -> bool:
    """Whether a process ends soon."""
    end = time.monotonic() + LIMIT / 3
    while time.monotonic() < end:
        try:
            os.kill(number, 0)
            state = Path(f"/proc/{number}/stat")
            if state.is_file() and state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


def _note(job: Job, line: str) -> None:
    with Path(job.folder).parent.joinpath("events").open("a") as file:
        file.write(line + "\n")


def _leave(job: Job, words: str) -> None:
    part = Path(job.folder, "left.part")
    part.write_text(words)
    part.rename(Path(job.folder, "left"))
