"""One run in a process of its own, wherever an executor starts it: it needs nothing but its folder.

    python -m omnigen2.runner.execute FOLDER

The folder holds `job.json`. What is printed goes to `log.txt`, and how far the run is to `progress.json`. Importing
this module imports all that a run needs.
"""

import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from omnigen2.errors import UserError
from omnigen2.files import read_json, write_json
from omnigen2.runner.execute.local import LOG
from omnigen2.runner.execute.progress import Progress
from omnigen2.runner.execute.run import Output, run
from omnigen2.runner.keep import is_first, locked
from omnigen2.runner.plan import parse

JOB, PROGRESS = "job.json", "progress.json"
FINISHED, CRASHED, REFUSED = 0, 1, 2


@dataclass(frozen=True)
class Job:
    """What an executor has to know of a run.

    Attributes:
        folder: Of the run.
        config: Its resolved settings, as YAML.
        command: The command of the whole plan, for the report.
        threads: How many the process may use; None for as many as it likes.
        devices: So many processes train together on each of `nodes` machines, where they take so many `gpus`.
        every: Seconds between two notes of how far it is.
    """

    folder: str
    config: str
    command: str
    threads: int | None = None
    devices: int = 1
    nodes: int = 1
    gpus: int = 0
    every: float = 0.5

    def write(self) -> None:
        """Write `job.json`."""
        write_json(Path(self.folder) / JOB, asdict(self))


def work(job: Job) -> int:
    """Bring a run to its end; return 0, or 1 if it crashed, 2 if it was refused, 128 and more for a signal."""
    folder = Path(job.folder)
    if job.threads is not None:
        torch.set_num_threads(job.threads)

    def send(progress: Progress) -> None:
        write_json(folder / PROGRESS, asdict(progress))

    with _words_in(folder / LOG):
        try:
            with locked(folder, patience=5.0) if is_first() else nullcontext():
                if is_first():
                    send(Progress(0, 0, {}))
                config = parse([f"--config={job.config}"])
                run(config, folder, job.command, Output(lambda line: print(line, flush=True), send, job.every))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return REFUSED
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else CRASHED
        except Exception:
            traceback.print_exc()
            return CRASHED
    return FINISHED


def job_of(folder: Path) -> Job:
    """Read `job.json`.

    Raises:
        UserError: If there is none.
    """
    content = read_json(folder / JOB)
    if content is None:
        raise UserError(f"{folder} has no {JOB}", "start runs with `lightning run RECIPE`")
    return Job(**content)


@contextmanager
def _words_in(log: Path) -> Generator[None]:
    """Send what this process and its children print to a file.

    Yields:
        Nothing.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with log.open("a", encoding="utf-8") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
