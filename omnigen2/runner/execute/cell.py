"""One cell of a study, in a process of its own. Importing this module imports all that a run needs."""

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import connection, parent_process
from pathlib import Path

import torch
import yaml

from omnigen2.errors import UserError
from omnigen2.files import write_text
from omnigen2.runner.execute.progress import Progress
from omnigen2.runner.execute.run import Output, run
from omnigen2.runner.execute.stages_run import run_stages
from omnigen2.runner.keep import STAGES, claim
from omnigen2.runner.plan import Config, plan_stages
from omnigen2.runner.recipe import Recipe, form_of

LOG = "log.txt"


@dataclass(frozen=True)
class Task:
    """What the process of a cell needs to know.

    Attributes:
        config: The resolved configuration, or the resolved stages, as YAML.
        command: The command of the study.
        twins: Where its stages are trained too, see `twins` in `omnigen2.runner.plan`; empty if it is a single run.
    """

    row: str
    seed: int
    folder: Path
    config: str
    command: str
    twins: Mapping[str, tuple[Path, ...]] = field(default_factory=dict[str, tuple[Path, ...]])


def work(task: Task, threads: int, pipe: connection.Connection) -> None:
    """Run one cell; end with its parent, whatever ends the parent.

    Everything that is printed goes to `log.txt` in the cell's folder. Progress goes to the study, as JSON in the pipe.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    claim(task.folder)
    with (task.folder / LOG).open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    torch.set_num_threads(threads)

    def send(progress: Progress) -> None:
        pipe.send_bytes(json.dumps(asdict(progress)).encode())

    output = Output(say=lambda line: print(line, flush=True), send=send, terminal=False, verbose=False)
    try:
        _run(task, output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _run(task: Task, output: Output) -> None:
    document = yaml.safe_load(task.config)
    if form_of(document) == "stages":
        write_text(task.folder / STAGES, task.config)
        plan = plan_stages(Recipe((task.folder / STAGES,), (document,), ()), task.folder)
        run_stages(replace(plan, name=task.row, command=task.command, twins=task.twins), restart=False, output=output)
    else:
        run(Config([f"--config={task.config}"]), task.folder, task.command, restart=False, output=output)


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
