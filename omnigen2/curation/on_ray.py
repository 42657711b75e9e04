"""Ray Data: a laptop is a local Ray, a cluster is an address."""

import importlib
import importlib.util
import json
import logging
import os
import re
import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from typing_extensions import override

from omnigen2.curation.engine import Do, Engine, Json, Work
from omnigen2.curation.items import CurationError
from omnigen2.curation.step import Resources

MOST_BLOCKS = 1000
"""A block costs milliseconds, a row may take hours: up to this number there is one row in each."""
STORE_BYTES = 128 * 2**20
"""Of a local Ray: rows hold no pixels."""


class RayEngine(Engine):
    """Works by Ray Data.

    A Ray that runs already in this process is taken, and goes on afterwards.

    Args:
        address: Of a cluster, `HOST:PORT` or `auto`; None is a Ray of this machine alone, which nobody can reach from
            outside.
        cpus: Cores of a Ray of this machine; None for all.
        patience: Seconds after which work that stands still is stopped.
    """

    def __init__(self, address: str | None = None, cpus: int | None = None, patience: float = 3600.0) -> None:
        self.address = address
        self.cpus = cpus
        self.patience = patience

    @override
    @contextmanager
    def running(self) -> Generator[None]:
        if importlib.util.find_spec("ray") is None:
            raise CurationError("Ray is not installed", "pip install 'omnigen2[curation]', or use --engine here")
        if self.address is None:
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # all listeners on 127.0.0.1
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray = importlib.import_module("ray")
        mine = not ray.is_initialized()
        if mine:
            _start(ray, self.address, self.cpus)
        try:
            yield
        finally:
            if mine:
                ray.shutdown()

    @override
    def check(self, resources: Sequence[Resources]) -> None:
        with self.running():
            there: dict[str, float] = importlib.import_module("ray").cluster_resources()
        for kind, free in (("CPU", 1.0), ("GPU", 0.0)):
            needed = sum(one.workers * (one.cpus if kind == "CPU" else one.gpus) for one in resources)
            if needed and needed > there.get(kind, 0) - free:
                raise CurationError(
                    f"the workers of all steps take {needed:g} {kind}s of {there.get(kind, 0):g}"
                    + (", and one has to be left for what needs no worker" if free else ""),
                    "give them fewer: STEP.resources.workers, .cpus and .gpus",
                )

    @override
    def run(self, rows: Sequence[Json], works: Sequence[Work]) -> Iterator[tuple[int, Json]]:
        if not rows:
            return
        with self.running():
            data, exceptions = (importlib.import_module(name) for name in ("ray.data", "ray.data.exceptions"))
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            context = data.DataContext.get_current()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            context.execution_no_progress_timeout_s = self.patience
            named = [{"number": number, "row": json.dumps(row)} for number, row in enumerate(rows)]
            todo = data.from_items(named, override_num_blocks=min(len(rows), MOST_BLOCKS))
            for work in works:
                todo = _mapped(data, todo, work)
            try:
                for done in todo.iter_rows():
                    yield int(done["number"]), json.loads(done["row"])
            except exceptions.ExecutionTimeoutError as error:
                raise CurationError(
                    f"nothing has been finished for {self.patience:g} s: {_first_line(error)}",
                    "look at what the steps wait for, or raise --patience; what is finished is kept",
                ) from error


class Worker:
    """Keeps what its step has loaded."""

    def __init__(self, do: Do) -> None:
        self._do = do

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Work on one row, which is text on its way."""
        return {"number": row["number"], "row": json.dumps(self._do(json.loads(row["row"])))}


def _mapped(data: Any, todo: Any, work: Work) -> Any:
    needs = work.resources
    if needs.workers:
        pool = data.ActorPoolStrategy(size=needs.workers)
        return todo.map(
            Worker, fn_constructor_args=(work.do,), compute=pool, num_cpus=needs.cpus, num_gpus=needs.gpus or None
        )
    return todo.map(Worker(work.do).__call__, num_cpus=needs.cpus)


def _start(ray: Any, address: str | None, cpus: int | None) -> None:
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is not None:
        probe(address)
    try:
        if address is None:
            ray.init(
                num_cpus=max(2, cpus or os.cpu_count() or 1),
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
        where = address or "this machine"
        raise CurationError(
            f"there is no Ray at {where}: {_first_line(error)}", "start it, or mend --address"
        ) from error


def probe(address: str) -> None:
    """Find out whether somebody serves at an address: Ray itself waits two minutes, and then ends the process.

    Raises:
        CurationError: If nobody serves it, or the address is none.
    """
    match = re.fullmatch(r"\[?([^\[\]/]+?)\]?:(\d{1,5})", address)
    if address == "auto":
        return
    if match is None:
        raise CurationError(f"--address is {address!r}", "write HOST:PORT as `ray start --head` tells it, or auto")
    try:
        socket.create_connection((match[1], int(match[2])), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise CurationError(f"nobody serves Ray at {address} ({error})", "start it, or mend --address") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
