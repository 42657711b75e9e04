"""Every job runs once, fails alone, has its devices for itself, and leaves no process behind."""

import os
import signal
import sys
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.errors import UserError
from omnigen2.runner.execute.elsewhere import executor_for
from omnigen2.runner.execute.local import LocalProcesses
from omnigen2.runner.plan.machines import Machines, Place
from tests.runner.execute.jobs import Job, ends, gone, is_parent, lasts, leaves, wait_for

GPUS = ("0", "GPU-1", "7")
ENDS = st.sampled_from([0, 2, 143, -9, -15, "raises", "exits"])
CODES = {"raises": 1, "exits": 1}
PREPARED = ["tests.runner.execute.jobs"]


def job(folder: Path, **settings: int | str) -> Job:
    folder.mkdir()
    return Job(str(folder), **settings)  # type: ignore[arg-type]


def test_every_job_runs_once_and_fails_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=6)
    @given(st.lists(st.tuples(ENDS, st.integers(0, 3)), min_size=1, max_size=6), st.integers(1, 4))
    def law(jobs: list[tuple[int | str, int]], at_once: int) -> None:
        home = tmp_path_factory.mktemp("home")
        with LocalProcesses(at_once, modules=PREPARED, gpus=GPUS) as processes:
            made = [job(home / str(n), ends=end, gpus=gpus) for n, (end, gpus) in enumerate(jobs)]
            futures = [processes.submit(ends, one) for one in made]
        assert [future.result() for future in futures] == [CODES.get(str(end), end) for end, _ in jobs]
        events = [line.split(" ") for line in (home / "events").read_text().splitlines()]
        running: dict[str, list[str]] = {}
        for sign, name, gpus in events:
            if sign == "-":
                del running[name]
                continue
            running[name] = [one for one in gpus.split(",") if one]
            assert len(running[name]) == jobs[int(name)][1]
            used = [one for given in running.values() for one in given]
            assert len(set(used)) == len(used)
            assert set(used) <= set(GPUS)
            assert len(running) <= at_once
        assert sorted(name for sign, name, _ in events if sign == "+") == sorted(map(str, range(len(jobs))))
        for number, (end, _) in enumerate(jobs):
            log = home / str(number) / "log.txt"
            assert log.is_file() == (end == "raises")
            assert not log.is_file() or log.read_text().endswith("ValueError: no such luck\n")

    law()


def test_so_many_run_side_by_side(tmp_path: Path) -> None:
    with LocalProcesses(2, modules=PREPARED) as processes:
        for name in "abcd":
            processes.submit(ends, job(tmp_path / name, ends="naps"))
    signs = [line[0] for line in (tmp_path / "events").read_text().splitlines()]
    running = [signs[:n].count("+") - signs[:n].count("-") for n in range(len(signs) + 1)]
    assert (max(running), running[-1], signs.count("+")) == (2, 0, 4)


def test_threads_and_environment_are_those_of_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with LocalProcesses(1, threads=3, modules=PREPARED) as processes:
        assert processes.submit(ends, job(tmp_path / "one")).result() == 0
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_a_job_ends_with_all_its_processes(tmp_path: Path) -> None:
    with LocalProcesses(1, modules=PREPARED) as processes:
        assert processes.submit(leaves, job(tmp_path / "one")).result() == 0
    assert gone(int(wait_for(tmp_path / "one" / "left")))


def test_an_interrupted_executor_leaves_no_process(tmp_path: Path) -> None:
    processes = LocalProcesses(1, modules=PREPARED)
    first = processes.submit(lasts, job(tmp_path / "one"))
    second = processes.submit(ends, job(tmp_path / "two"))
    numbers = wait_for(tmp_path / "one" / "left").split()
    processes.shutdown(cancel_futures=True)
    assert first.result() == -signal.SIGKILL
    with pytest.raises(CancelledError):
        second.result()
    assert all(gone(int(number)) for number in numbers)


def test_a_killed_parent_leaves_no_process(tmp_path: Path) -> None:
    with LocalProcesses(1, modules=PREPARED) as processes:
        outer = processes.submit(is_parent, job(tmp_path / "one"))
        numbers = wait_for(tmp_path / "one" / "inner" / "left").split()
        os.kill(int(wait_for(tmp_path / "one" / "inner" / "parent")), signal.SIGKILL)
        assert outer.result() == -signal.SIGKILL
        assert all(gone(int(number)) for number in numbers)


@pytest.mark.parametrize("end", ["sys.exit(3)", "os.kill(os.getpid(), 9)", "pass"])
def test_a_job_of_several_devices_is_a_command(end: str, tmp_path: Path) -> None:
    starts = "subprocess.Popen(['sleep', '30']).pid"
    words = f"import os, subprocess, sys; open(sys.argv[1] + '/left', 'w').write(str({starts})); print('hello'); {end}"
    command = (sys.executable, "-S", "-u", "-c", words)
    with LocalProcesses(1, modules=PREPARED, command=command) as processes:
        code = processes.submit(ends, job(tmp_path / "one", devices=2)).result()
    assert code == {"sys.exit(3)": 3, "pass": 0}.get(end, -9)
    assert (tmp_path / "one" / "log.txt").read_text() == "hello\n"
    assert gone(int((tmp_path / "one" / "left").read_text()))


def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnigen2.runner.execute.elsewhere.visible_gpus", lambda: GPUS)
    places = [Place(1, 1, 3), Place(4, 1, 4)]
    with pytest.raises(UserError, match="a run asks for 4 GPUs, and this machine has 3"):
        executor_for(Machines("local"), places, jobs=1, threads=1)
    with executor_for(Machines("local"), places[:1], jobs=1, threads=1) as executor:
        assert isinstance(executor, LocalProcesses)


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="needs SLURM's sbatch, which is not on the path\n  start the command on"):
        executor_for(Machines("slurm"), [], jobs=1, threads=1)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package submitit\n  pip install 'omnigen2\[slurm\]'"):
        executor_for(Machines("slurm"), [], jobs=1, threads=1)
    with pytest.raises(UserError, match=r"needs the package ray\n  pip install 'omnigen2\[ray\]'"):
        executor_for(Machines("ray"), [], jobs=1, threads=1)


@pytest.mark.slow
def test_ray_runs_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    try:
        with executor_for(Machines("ray", jobs=2), [], jobs=1, threads=1) as executor:
            ending: dict[str, int | str] = {"fine": 0, "failing": "raises", "killed": -9}
            futures = [executor.submit(ends, job(tmp_path / name, ends=end)) for name, end in ending.items()]
            assert [future.result(timeout=120) for future in futures] == [0, 1, -9]
        assert (tmp_path / "failing" / "log.txt").read_text().endswith("ValueError: no such luck\n")
    finally:
        ray.shutdown()
