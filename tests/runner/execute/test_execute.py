"""The loop over a graph of runs: each goes out once, after those that it needs; what needs a failed one never does."""

import importlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for_one
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import Namespace
from typing_extensions import override

from omnigen2.cli import main
from omnigen2.files import read_json, write_json
from omnigen2.runner.execute import Elsewhere, execute, local
from omnigen2.runner.execute.worker import Job, job_of, work
from omnigen2.runner.keep import claim, locked
from omnigen2.runner.keep.resume import committed_checkpoint
from omnigen2.runner.plan import Cell, Config, Place, Plan, Report, Results, Row, Run
from tests.runner import forked
from tests.runner.forked import torchrun
from tests.runner.recipes import PLAIN, write
from tests.runner.runs import outcome

EXECUTE = importlib.import_module("omnigen2.runner.execute.execute")
PLACE = Place(2, 1, 1)
SUMMARY = {"steps": 4, "seconds": 1.0, "final": {"loss": 0.5}}


class Names(Report):
    """Writes down which runs there are."""

    @override
    def write(self, plan: Plan, results: Results) -> None:
        write_json(plan.folder / "report.json", {run.name: run.start for run in results.runs})


def graph(folder: Path, needs: Sequence[Sequence[int]]) -> tuple[Plan, list[Run]]:
    """Stages by the numbers of those that each needs, of which the last one is its start."""
    runs: list[Run] = []
    for number, earlier in enumerate(needs):
        named = {f"s{other}": runs[other] for other in earlier}
        start = runs[earlier[-1]] if earlier else None
        config = Config({"number": number}, Namespace())
        runs.append(Run(f"s{number}", folder / f"s{number}", config, start, named))
    cells: dict[Cell, dict[str, Run]] = {("x", None): {run.name: run for run in runs}}
    return Plan("x", folder, "lightning run x", (Row("x", "x", {}),), (None,), cells, {"stages": {}}, Names()), runs


@dataclass
class Hand(Executor):
    """Ends one of the jobs that it has whenever it is waited for: the one that is drawn.

    Attributes:
        draw: From how many there are to one of them.
        ends: How jobs end, by the name of their folder; with 0 where it is not said.
    """

    draw: Callable[[int], int]
    ends: Mapping[str, int | BaseException] = field(default_factory=dict[str, int | BaseException])
    submitted: list[str] = field(default_factory=list[str])
    most: int = 0
    shut: list[tuple[bool, bool]] = field(default_factory=list[tuple[bool, bool]])
    _open: list[tuple[Job, Future[int]]] = field(default_factory=list[tuple[Job, Future[int]]])

    @override
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        (job,) = args
        assert fn is work
        assert job_of(Path(job.folder)) == job
        self.submitted.append(Path(job.folder).name)
        self._open.append((job, Future()))
        self.most = max(self.most, len(self._open))
        return self._open[-1][1]

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.shut.append((wait, cancel_futures))

    def wait(self, futures: Any, timeout: float, return_when: str) -> Any:
        """End one job, as if some time had gone by."""
        if self._open:
            job, future = self._open.pop(self.draw(len(self._open)))
            end = self.ends.get(Path(job.folder).name, 0)
            if isinstance(end, KeyboardInterrupt):
                raise end
            if isinstance(end, BaseException):
                future.set_exception(end)
            else:
                if end == 0:
                    write_json(Path(job.folder, "run.json"), SUMMARY | {"made": len(self.submitted)})
                Path(job.folder, "log.txt").write_text(f"words of {Path(job.folder).name}\n\n")
                future.set_result(end)
        return wait_for_one(futures, 0.0, return_when)


def carried_out(plan: Plan, hand: Hand) -> tuple[int, str]:
    """What a plan comes to, and what was said."""
    elsewhere = Elsewhere(lambda: hand, dict.fromkeys(plan.runs, PLACE), 2, 3)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as text:
        patch.setattr(EXECUTE, "wait", hand.wait)
        return execute(plan, elsewhere=elsewhere), text.getvalue()


FAILURES = st.sampled_from([1, 2, 143, -9, RuntimeError("the node is gone")])


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    """Up to seven runs, each with up to three of the earlier ones that it needs."""
    count = draw(st.integers(1, 7))
    return [draw(st.lists(st.integers(0, n - 1), max_size=3, unique=True)) if n else [] for n in range(count)]


def after(needs: Sequence[Sequence[int]], failed: set[int]) -> set[int]:
    """The runs that need a failed one, itself or through others."""
    found: set[int] = set()
    for number, earlier in enumerate(needs):
        found |= {number} if found & {*earlier} or failed & {*earlier} else set()
    return found


def test_every_run_is_done_once_and_after_those_that_it_needs(tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=40)
    @given(graphs(), st.dictionaries(st.integers(0, 6), FAILURES, max_size=2), st.randoms(use_true_random=False))
    def law(needs: list[list[int]], failing: dict[int, int | BaseException], chance: Any) -> None:
        plan, runs = graph(tmp_path_factory.mktemp("plan") / "x", needs)
        failed = {number for number in failing if number < len(runs)} - after(needs, {*failing})
        lost = after(needs, failed)
        first = Hand(chance.randrange, {f"s{number}": end for number, end in failing.items()})
        code, text = carried_out(plan, first)
        assert sorted(first.submitted) == sorted(f"s{n}" for n in range(len(runs)) if n not in lost)
        for number in range(len(runs)):
            if number not in lost | failed:
                assert (runs[number].folder / "run.json").is_file()
                began = read_json(runs[number].folder / "start.json") or {}
                assert set(began) == {f"s{other}" for other in needs[number]}
                for other in needs[number]:
                    assert first.submitted.index(f"s{other}") < first.submitted.index(f"s{number}")
            if number in lost:
                assert f"s{number}: it was not begun, since it needs " in text
        for number in failed:
            how = "was ended by signal 9" if failing[number] == -9 else "failed"
            assert f"s{number} {how}" in text
            assert f"its log is {runs[number].folder / 'log.txt'}" in text
        assert (code, (plan.folder / "report.json").is_file()) == ((1, False) if failed else (0, True))
        if failed:
            done = len(runs) - len(failed | lost)
            assert f"{done} of {len(runs)} runs are finished; no report without the others." in text

        second = Hand(chance.randrange)
        assert carried_out(plan, second)[0] == 0
        assert sorted(second.submitted) == sorted(f"s{number}" for number in failed | lost)
        starts = {f"s{n}": f"s{earlier[-1]}" if earlier else None for n, earlier in enumerate(needs)}
        assert read_json(plan.folder / "report.json") == starts
        third = Hand(chance.randrange)
        code, text = carried_out(plan, third)
        assert (code, third.submitted, third.shut) == (0, [], []), "no executor is made for nothing"
        assert f"all {len(runs)} runs are finished" in text

    law()


def test_runs_that_need_nothing_of_each_other_are_out_together(tmp_path: Path) -> None:
    plan, _ = graph(tmp_path / "x", [[], [], [0], [0, 1], []])
    hand = Hand(lambda count: 0)
    assert carried_out(plan, hand)[0] == 0
    assert hand.submitted[:3] == ["s0", "s1", "s4"]
    assert hand.most == 3
    assert hand.shut == [(True, True)]


def test_what_a_job_is_told(tmp_path: Path) -> None:
    plan, (run,) = graph(tmp_path / "x", [[]])
    claim(plan.folder)
    claim(run.folder)
    write_json(run.folder / "progress.json", {"step": 9, "steps": 9, "metrics": {}})
    jobs: list[Job] = []

    class First(Hand):
        def wait(self, futures: Any, timeout: float, return_when: str) -> Any:
            if not jobs:
                jobs.append(job_of(run.folder))
                assert not (run.folder / "progress.json").exists(), "how far it was before says nothing now"
                write_json(run.folder / "progress.json", {"step": 1, "steps": 4, "metrics": {"loss": 2.0}})
                return set(), futures
            return super().wait(futures, timeout, return_when)

    code, text = carried_out(plan, First(lambda count: 0))
    assert code == 0
    assert jobs == [Job(str(run.folder), "number: 0\n", "lightning run x", 3, 2, 1, 1)]
    assert "s0: step 1 of 4 · loss 2" in text


def test_a_failure_is_told_with_the_last_words_of_its_log(tmp_path: Path) -> None:
    plan, _ = graph(tmp_path / "x", [[], []])
    said = carried_out(plan, Hand(lambda count: 0, {"s0": 2, "s1": OSError("no more room")}))[1]
    assert f"s0 failed; its log is {tmp_path}/x/s0/log.txt\n    words of s0\n" in said
    assert f"s1 failed (no more room); its log is {tmp_path}/x/s1/log.txt\n" in said


def test_an_interrupted_plan_shuts_its_executor_and_goes_on_later(tmp_path: Path) -> None:
    plan, _ = graph(tmp_path / "x", [[], [0], [1]])
    hand = Hand(lambda count: 0, {"s1": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        carried_out(plan, hand)
    assert hand.shut == [(True, True)]
    with locked(plan.folder):
        pass
    assert not (plan.folder / "report.json").exists()
    again = Hand(lambda count: 0)
    assert carried_out(plan, again)[0] == 0
    assert again.submitted == ["s1", "s2"]


def test_an_executor_that_takes_nothing_is_shut(tmp_path: Path) -> None:
    class Full(Hand):
        @override
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            raise RuntimeError("cannot schedule new futures")

    plan, _ = graph(tmp_path / "x", [[], [0]])
    hand = Full(lambda count: 0)
    with pytest.raises(RuntimeError, match="cannot schedule"):
        carried_out(plan, hand)
    assert hand.shut == [(True, True)]


def test_what_is_left_elsewhere_is_stopped_before_its_folder_is_deleted(tmp_path: Path) -> None:
    plan, _ = graph(tmp_path / "x", [[], [0]])
    assert carried_out(plan, Hand(lambda count: 0))[0] == 0
    stopped: list[tuple[str, bool]] = []

    def stop(folders: Iterable[Path]) -> None:
        stopped.extend((folder.name, (folder / "run.json").exists()) for folder in folders)

    hand = Hand(lambda count: 0)
    elsewhere = Elsewhere(lambda: hand, dict.fromkeys(plan.runs, PLACE), 2, 3, stop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EXECUTE, "wait", hand.wait)
        assert execute(plan, restart=True, elsewhere=elsewhere) == 0
    assert sorted(stopped) == [("s0", True), ("s1", True)]
    assert hand.submitted == ["s0", "s1"]


def test_weights_that_have_changed_since_are_refused_before_an_executor_is_made(tmp_path: Path) -> None:
    plan, runs = graph(tmp_path / "x", [[], [0]])
    assert carried_out(plan, Hand(lambda count: 0))[0] == 0
    (runs[1].folder / "run.json").unlink()
    write_json(runs[0].folder / "run.json", SUMMARY | {"made": "anew"})
    hand = Hand(lambda count: 0)
    with pytest.raises(Exception, match="stage s1 in .* was started from other weights than s0 has now"):
        carried_out(plan, hand)
    assert (hand.submitted, hand.shut) == ([], [])


@pytest.mark.parametrize("started", ["forked", pytest.param("anew", marks=pytest.mark.slow)])
def test_a_run_of_two_devices_in_a_study_is_the_run_alone(
    started: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runner starts a process, and Lightning one for the other device."""
    if started == "forked":
        monkeypatch.setattr(local, "_child", partial(forked.child, forked.serve()))
    monkeypatch.chdir(tmp_path)
    write(Path("plain.yaml"), PLAIN, {"trainer": {"devices": 2, "strategy": "ddp"}})
    write(Path("study.yaml"), {"study": {"base": "plain.yaml", "seeds": [3], "rows": {"two": {}}}})
    assert main(["run", "study.yaml", "--executor=local", "--jobs=1"]) == 0
    assert "| two | " in capsys.readouterr().out
    with ExitStack() as stack:
        words = [(tmp_path / f"log{rank}", environment) for rank, environment in enumerate(torchrun())]
        pair = [stack.enter_context(forked.run(log, "plain.yaml", "--out=alone", **each)) for log, each in words]
        assert [process.wait() for process in pair] == [0, 0], [process.said() for process in pair]
    study = Path("runs/study/two/seed_3")
    saved = torch.load(committed_checkpoint(study) or study, weights_only=True)["callbacks"]
    (point,) = (state for name, state in saved.items() if "ResumePoint" in name)
    assert len(point["processes"]) == 2
    assert outcome(study) == outcome(Path("alone"))
