"""Jobs in SLURM's queue, of which each is submitted once whatever becomes of the command that watches it.

The queue here is a file, behind small scripts in the place of SLURM's commands.
"""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.errors import UserError
from omnigen2.runner.execute.elsewhere import executor_for
from omnigen2.runner.execute.slurm import ENDED, GoesOn, Slurm, name_of, stop
from omnigen2.runner.plan.machines import Machines
from tests.runner.execute.jobs import LIMIT, Job, ends, stops_once

submitit = pytest.importorskip("submitit")

SCRIPTS = {
    "sbatch": """
        grep -q REFUSED "$1" && { echo "sbatch: error: invalid partition specified: REFUSED" >&2; exit 1; }
        number=$(($(wc -l < $CLUSTER/submitted) + 7)); name=$(sed -n 's/#SBATCH --job-name=//p' "$1")
        echo $number >> $CLUSTER/submitted; echo "$number $name" >> $CLUSTER/queue
        cp "$1" $CLUSTER/$name.sh; echo "Submitted batch job $number" """,
    "squeue": """
        [ -e $CLUSTER/away ] && exit 1
        [ -e $CLUSTER/requeues ] && echo >> $CLUSTER/requeues && [ $(($(wc -l < $CLUSTER/requeues) % 2)) = 0 ] && exit
        cat $CLUSTER/queue""",
    "sacct": "echo '  OUT_OF_MEMORY '",
    "scancel": """
        for number; do sed -i "/^$number /d" $CLUSTER/queue; done""",
    "srun": "exit 1",
    "scontrol": "exit 1",
}
MACHINES = Machines("slurm", time="1:30:00", partition="big", memory=64.0, cpus=4)


class Cluster:
    """A queue in a folder, whose jobs end when the test says so."""

    def __init__(self, home: Path) -> None:
        self.home, self.words = home, list[str]()
        for name in ("submitted", "queue"):
            (home / name).touch()
        for name, script in SCRIPTS.items():
            (home / name).write_text("#!/bin/sh\n" + script)
            (home / name).chmod(0o755)

    def job(self, name: str) -> Job:
        (self.home / "runs" / name).mkdir(parents=True)
        return Job(str(self.home / "runs" / name))

    def queue(self) -> list[str]:
        return (self.home / "queue").read_text().splitlines()

    def submitted(self) -> int:
        return len((self.home / "submitted").read_text().splitlines())

    def wait_for(self, count: int) -> None:
        end = time.monotonic() + LIMIT / 2
        while len(self.queue()) != count:
            assert time.monotonic() < end, self.queue()
            time.sleep(0.005)

    def end(self, job: Job, code: int | None) -> None:
        """Take a job out of the queue; it has said how it ended unless that is None."""
        mine = [line for line in self.queue() if line.endswith(name_of(job.folder))]
        if code is not None:
            Path(job.folder, ENDED).write_text(json.dumps({"job": mine[0].split()[0], "code": code}))
        (self.home / "queue").write_text("".join(f"{line}\n" for line in self.queue() if line not in mine))

    @contextmanager
    def watched(self, machines: Machines = MACHINES) -> Iterator[Slurm]:
        slurm = Slurm(machines, self.words.append, seconds=0.01)
        try:
            yield slurm
        finally:
            slurm.shutdown(cancel_futures=True)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(submitit.core.core.PicklingExecutor, "_throttle", lambda self: None)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CLUSTER", str(tmp_path))
    return Cluster(tmp_path)


def test_the_queue_decides_and_the_folder_says_how_it_ended(cluster: Cluster) -> None:
    codes = {"fine": 0, "refused": 2, "killed": None}
    with cluster.watched() as slurm:
        jobs = {name: cluster.job(name) for name in codes}
        futures = {name: slurm.submit(ends, job) for name, job in jobs.items()}
        cluster.wait_for(3)
        (cluster.home / "away").touch()  # the controller restarts
        for name, job in jobs.items():
            cluster.end(job, codes[name])
        time.sleep(0.1)
        assert not any(future.done() for future in futures.values())
        (cluster.home / "away").unlink()
        assert [future.result(LIMIT) for future in futures.values()] == [0, 2, 1]
    assert set(cluster.words) == {"SLURM's queue cannot be read; trying again"}
    log = Path(jobs["killed"].folder, "log.txt").read_text()
    assert log.startswith("error: SLURM has ended job ")
    assert "(OUT_OF_MEMORY)" in log
    assert cluster.submitted() == 3


def test_a_command_finds_its_jobs_again(cluster: Cluster) -> None:
    jobs = [cluster.job("one"), cluster.job("two")]
    with cluster.watched() as slurm:
        left = [slurm.submit(ends, job) for job in jobs]
        cluster.wait_for(2)
    assert not any(future.done() for future in left)
    numbers = " ".join(line.split()[0] for line in cluster.queue())
    assert cluster.words == [
        f"left in SLURM's queue: {numbers}; the same command waits for them again, `scancel {numbers}` ends them"
    ]
    cluster.end(jobs[1], None)  # before the same command comes: it is submitted anew
    with cluster.watched() as slurm:
        futures = [slurm.submit(ends, job) for job in jobs]
        cluster.wait_for(2)
        assert cluster.submitted() == 3
        for job in jobs:
            cluster.end(job, 0)
        assert [future.result(LIMIT) for future in futures] == [0, 0]


def test_jobs_of_runs_that_start_over_are_ended_in_the_queue(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [cluster.job(name) for name in ("one", "two", "other")]
    with cluster.watched() as slurm:
        for job in jobs:
            slurm.submit(ends, job)
        cluster.wait_for(3)
    said: list[str] = []
    folders = [Path(job.folder) for job in jobs[:2]]
    stop(folders, said.append, seconds=0.01)
    assert [line.split()[1] for line in cluster.queue()] == [name_of(jobs[2].folder)]
    assert said == ["ends jobs of these runs in SLURM's queue: 7 8"]
    stop(folders, said.append, seconds=0.01)
    stop([], said.append)
    assert len(said) == 1
    monkeypatch.setattr("omnigen2.runner.execute.slurm.LOOKS", 3)
    (cluster.home / "scancel").write_text("#!/bin/sh\n")
    with pytest.raises(UserError, match="do not leave SLURM's queue"):
        stop([Path(jobs[2].folder)], said.append, seconds=0.01)
    (cluster.home / "away").touch()
    with pytest.raises(UserError, match="SLURM's queue cannot be read"):
        stop(folders, said.append, seconds=0.01)


def test_a_job_that_is_missing_once_is_not_over(cluster: Cluster) -> None:
    with cluster.watched() as slurm:
        job = cluster.job("one")
        future = slurm.submit(ends, job)
        cluster.wait_for(1)
        looks = cluster.home / "requeues"
        looks.touch()
        end = time.monotonic() + LIMIT / 2
        while looks.stat().st_size < 6 and time.monotonic() < end:
            time.sleep(0.01)
        assert not future.done()
        looks.unlink()
        cluster.end(job, 0)
        assert future.result(LIMIT) == 0


def test_no_more_than_were_asked_for_are_in_the_queue(cluster: Cluster) -> None:
    with cluster.watched(Machines("slurm", jobs=2)) as slurm:
        jobs = [cluster.job(name) for name in "abc"]
        futures = [slurm.submit(ends, job) for job in jobs]
        cluster.wait_for(2)
        time.sleep(0.1)
        assert len(cluster.queue()) == 2
        cluster.end(jobs[0], 0)
        assert futures[0].result(LIMIT) == 0
        cluster.wait_for(2)
    assert futures[1].cancelled() is False
    assert cluster.submitted() == 3


def test_what_is_asked_for_stands_in_the_script(cluster: Cluster) -> None:
    job = Job(cluster.job("one").folder, devices=4, nodes=2, gpus=4)
    with cluster.watched() as slurm:
        slurm.submit(ends, job)
        cluster.wait_for(1)
    script = (cluster.home / f"{name_of(job.folder)}.sh").read_text()
    asked = dict(re.findall(r"#SBATCH --([\w-]+)(?:=(\S+))?", script))
    wanted = {
        "partition": "big", "time": "90", "mem": "64GB", "nodes": "2", "ntasks-per-node": "4", "gpus-per-node": "4",
        "cpus-per-task": "4", "signal": "USR2@300", "requeue": "",
    }  # fmt: skip
    assert {key: asked[key] for key in wanted} == wanted
    assert {"account", "qos"}.isdisjoint(asked)


def test_what_slurm_refuses_is_told(cluster: Cluster) -> None:
    with cluster.watched(Machines("slurm", partition="REFUSED")) as slurm:
        future = slurm.submit(ends, cluster.job("one"))
        with pytest.raises(UserError, match="sbatch: error: invalid partition specified: REFUSED"):
            future.result(LIMIT)


def test_an_executor_of_a_queue_is_chosen(cluster: Cluster) -> None:
    with executor_for(MACHINES, [], jobs=1, threads=1) as executor:
        assert isinstance(executor, Slurm)


@given(st.text("ab/.", max_size=6), st.text("ab/.", max_size=6))
def test_names_are_those_of_folders(one: str, other: str) -> None:
    same = Path(one).resolve() == Path(other).resolve()
    assert (name_of(one) == name_of(other)) == same


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"EXECUTOR": "local", "LOCAL_JOB_ID": "12", "LOCAL_GLOBALID": "0"}.items():
        monkeypatch.setenv(f"SUBMITIT_{name}", value)


@pytest.mark.parametrize("code", [0, 1, 2, 143])
def test_a_job_says_how_it_ended(code: int, tmp_path: Path, inside: None) -> None:
    try:
        status = GoesOn(60)(ends, Job(str(tmp_path), code))
    except SystemExit as stop:
        status = stop.code
    assert status == code
    assert json.loads((tmp_path / ENDED).read_text()) == {"job": "12", "code": code}


def test_a_job_that_its_time_limit_stops_is_put_back(tmp_path: Path, inside: None) -> None:
    put_back: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        put_back.append(number)

    (tmp_path / ENDED).write_text("{}")  # of the time before
    before = signal.signal(signal.SIGUSR2, receive)
    try:
        with pytest.raises(SystemExit) as stop:
            GoesOn(60)(stops_once, Job(str(tmp_path)))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert (put_back, stop.value.code) == ([signal.SIGUSR2], 0)
    assert not (tmp_path / ENDED).exists()


def test_a_job_that_submitit_has_put_back_has_not_ended(tmp_path: Path, inside: None) -> None:
    with pytest.raises(SystemExit):
        GoesOn(60)(lambda _: sys.exit(-1), Job(str(tmp_path)))
    assert not (tmp_path / ENDED).exists()


@pytest.mark.parametrize("ran", [0.2, 0.9])
@pytest.mark.parametrize("saved", [None, -0.1, 0.1])
def test_a_job_that_saves_nothing_until_its_limit_does_not_go_on(
    ran: float, saved: float | None, tmp_path: Path
) -> None:
    """`ran` and `saved` are shares of an hour; the latter counts from the job's beginning."""
    goes_on, began = GoesOn(60), time.time() - 3600 * ran
    goes_on._since = began
    if saved is not None:
        checkpoint = tmp_path / "checkpoints" / "a" / "state"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
        for path in (checkpoint, checkpoint.parent):
            os.utime(path, (began, began + 3600 * saved))
    again = goes_on.checkpoint(ends, Job(str(tmp_path)))
    if ran < 0.5 or saved == 0.1:
        assert (again.function, again.args[0]) == (goes_on, ends)
        assert not (tmp_path / "log.txt").exists()
    else:
        assert again is None
        assert "error: no checkpoint in 60 minutes" in (tmp_path / "log.txt").read_text()


@pytest.mark.slow
def test_submitit_does_all_that(tmp_path: Path) -> None:
    executor = submitit.AutoExecutor(tmp_path / "slurm", "local")
    executor.update_parameters(timeout_min=2)
    executor.submit(GoesOn(2), stops_once, Job(str(tmp_path))).wait()
    assert (tmp_path / "times").read_text() == "xx"
    assert json.loads((tmp_path / ENDED).read_text())["code"] == 0
