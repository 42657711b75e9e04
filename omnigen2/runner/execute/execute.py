"""Carries a plan out: finished runs stay, interrupted ones go on, what is ready is run, then comes the report."""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from omnigen2.errors import UserError
from omnigen2.files import read_json, write_json, write_text
from omnigen2.runner import keep
from omnigen2.runner.execute.board import Board
from omnigen2.runner.execute.elsewhere import Elsewhere
from omnigen2.runner.execute.progress import Progress
from omnigen2.runner.execute.run import Output, run, takes_more_steps
from omnigen2.runner.execute.worker import JOB, LOG, PROGRESS, Job, work
from omnigen2.runner.plan import Plan, Results, Run, RunResult, as_yaml
from omnigen2.runner.recipe import form_of, replaced
from omnigen2.runner.reports import MetricTable, StageTable

START = "start.json"
"""In a run's folder: which weights of the runs that it needs it was started with."""
RUNS_FAILED = 1
OLD = ("study.yaml", "stages.yaml")
"""What stood in the folder of a plan before there was one format for all."""


def execute(plan: Plan, restart: bool = False, verbose: bool = False, elsewhere: Elsewhere | None = None) -> int:
    """Bring a plan to its end, wherever it stands.

    Of several processes that train together, the first one alone cares for the folders.

    Args:
        plan: The plan.
        restart: Whether to delete what the folder has and start over.
        verbose: Whether Lightning's own messages are wanted.
        elsewhere: Where runs are carried out as soon as they are ready; None to do so here, one after the other.

    Returns:
        0 if all runs are finished and the report is written, 1 if one failed.

    Raises:
        UserError: If a run was made with other settings or from other weights before.
    """
    if not keep.is_first():
        for one in plan.runs:
            run(one.config, one.folder, plan.command, Output(say=lambda line: None, verbose=verbose))
        return 0
    keep.check_apart(plan.folder)
    console = Console()
    with ExitStack() as held:
        held.enter_context(keep.locked(plan.folder, patience=2.0))
        say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
        if restart:
            if elsewhere is not None and elsewhere.stop is not None:
                elsewhere.stop(path.parent for path in plan.folder.rglob(JOB))
            keep.start_over(plan.folder, say)
        for one in plan.runs:  # the link of an earlier plan, where another run was shared
            if one.folder.is_symlink() and one.folder.resolve().is_relative_to(plan.folder.resolve()):
                one.folder.unlink()
        unfinished = unfinished_runs(plan)
        if all(one.folder != plan.folder for one in plan.runs):
            write_text(plan.folder / keep.CONFIG, plan.text)
        finished = {one: _summary(one)["final"] for one in plan.runs if one not in unfinished}
        _link(plan)
        if elsewhere is not None and any(one.folder == plan.folder for one in plan.runs):
            held.close()  # the process of the run holds it
        with Board(plan, finished, console) as board:
            if elsewhere is None:
                _here(plan, board, verbose)
            elif failed := _elsewhere(plan, unfinished, elsewhere, board):
                for why in failed.values():
                    board.say(why)
                done = f"{len(plan.runs) - len(failed)} of {len(plan.runs)} runs are finished"
                board.say(f"{done}; no report without the others. The same command tries again.")
                return RUNS_FAILED
        try:
            _report(plan, 1 if elsewhere is None else elsewhere.jobs or len(plan.runs))
        except KeyError as error:
            remedy = "the runs stay; name another report, or what it lacks, and give the command again"
            raise UserError(f"the report cannot be written: {error.args[0]}", remedy) from error
        say(keep.first_table(plan.folder / "report.md"))
    return 0


def unfinished_runs(plan: Plan) -> tuple[Run, ...]:
    """The runs that are not finished, or not yet as long as they are to be.

    Raises:
        UserError: If a folder holds something else, or a run has started from other weights than there would be.
    """
    found: list[Run] = []
    longer: set[Run] = set()
    if old := [name for name in OLD if (plan.folder / name).is_file()]:
        raise UserError(f"{plan.folder} was made by an older version of the runner ({old[0]})", keep.REMEDY)
    apart = [one.folder.parent for one in plan.runs if one.folder != plan.folder]
    for folder in dict.fromkeys([plan.folder, *apart] if apart else []):
        settings = keep.settings_of(folder)
        held = None if settings is None else form_of(settings)
        if held not in (None, form_of(plan.document) if folder == plan.folder else None):
            what = {"plain": "a single run", "stages": "stages", "study": "a study"}
            raise UserError(f"{folder} holds {what[held or 'plain']}, and something else is to be run", keep.REMEDY)
    for one in plan.runs:
        _follow(one, plan)
        try:
            more = takes_more_steps(one.folder, one.config)
        except UserError as error:
            if one.folder == plan.folder:
                raise
            ways = f"delete {one.folder} to run it anew; --restart deletes all of {plan.folder}, --out writes elsewhere"
            changed = error.remedy.partition(keep.REMEDY)[0]
            raise UserError(f"{one.name} has changed since it was run: {error.message}", changed + ways) from error
        _check_start(one, plan)
        for name, need in one.needs.items():
            if need in longer and (one.folder / keep.CONFIG).is_file():
                _refuse_other_weights(one, need, plan, f"{name} will have after more steps")
        longer |= {one} if more else set()
        found += [one] if more or not (one.folder / keep.SUMMARY).is_file() else []
    return tuple(found)


def collect(plan: Plan, jobs: int = 1) -> Results:
    """Read from disk what a report needs of the finished runs."""
    found: dict[Run, RunResult] = {}
    for cell in plan.cells.values():
        for name, one in cell.items():
            start = next((stage for stage, need in one.needs.items() if need is one.start), None)
            found.setdefault(one, RunResult(name, start, one.folder, keep.read_metrics(one.folder), _summary(one)))
    cells = {cell: [replace(found[one], name=name) for name, one in runs.items()] for cell, runs in plan.cells.items()}
    return Results(cells, keep.versions(), jobs)


def _here(plan: Plan, board: Board, verbose: bool) -> None:
    for one in plan.runs:
        _prepare(one, plan)
        apart = one.folder != plan.folder
        with keep.locked(one.folder) if apart else nullcontext():
            output = Output(board.say, partial(board.update, one, "running"), verbose=verbose)
            summary = run(one.config, one.folder, plan.command, output)
            board.update(one, "finished", _end(summary))


def _elsewhere(plan: Plan, unfinished: tuple[Run, ...], elsewhere: Elsewhere, board: Board) -> dict[Run, str]:
    """Hand runs over as soon as those that they need are finished; return those that failed, and why."""
    waiting, running, failed = list(unfinished), dict[Future[int], Run](), dict[Run, str]()
    total = len(plan.runs)
    if not waiting:
        board.say(f"{plan.folder}: all {total} runs are finished (--restart runs them again)")
        return {}
    at_once = "" if elsewhere.jobs is None else f", {min(elsewhere.jobs, len(waiting))} at a time"
    board.say(f"{plan.folder}: {len(waiting)} of {total} runs to do{at_once}")
    executor = elsewhere.make()
    try:
        while waiting or running:
            for one in [one for one in waiting if not {*one.needs.values()} & {*waiting, *running.values()}]:
                waiting.remove(one)
                try:
                    _prepare(one, plan, failed)
                    running[executor.submit(work, _job(one, plan, elsewhere))] = one
                except UserError as error:
                    failed[one] = f"{one.name}: {error}"
                    board.update(one, "failed")
            done, _ = wait(running, timeout=0.25, return_when=FIRST_COMPLETED)
            for future, one in list(running.items()):
                if (content := read_json(one.folder / PROGRESS)) is not None:
                    board.update(one, "running", Progress(**content))
                if future in done:
                    del running[future]
                    if why := _failure(one, future):
                        failed[one] = why
                        board.update(one, "failed")
                    else:
                        board.update(one, "finished", _end(_summary(one)))
            board.tick()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    return failed


def _job(one: Run, plan: Plan, elsewhere: Elsewhere) -> Job:
    job = Job(str(one.folder), one.config.text, plan.command, elsewhere.threads, **asdict(elsewhere.places[one]))
    (one.folder / PROGRESS).unlink(missing_ok=True)
    job.write()
    return job


def _failure(one: Run, future: Future[int]) -> str:
    """Why a run failed; nothing if it is finished."""
    log, error = one.folder / LOG, future.exception()
    code = 1 if error else future.result()
    if not code:
        return ""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    how = f"was ended by signal {-code}" if code < 0 else f"failed{f' ({error})' if error else ''}"
    return "\n    ".join([f"{one.name} {how}; its log is {log}", *lines[-3:]])


def _prepare(one: Run, plan: Plan, failed: Collection[Run] = ()) -> None:
    """See that what a run starts from is there, and write down which weights it is.

    Raises:
        UserError: If it is not there, or is not what it was.
    """
    if lacking := [need.name for need in one.needs.values() if need in failed]:
        raise UserError(f"it was not begun, since it needs {lacking[0]}, which failed")
    _check_start(one, plan)
    for path, reference in one.references.items():
        if not Path(path).exists():
            raise UserError(
                f"stage {one.name} needs {reference}, but its stage is finished and there is no {path}",
                "(a run keeps the state of its optimizer only if it has exactly one)",
            )
    keep.claim(one.folder)
    if one.needs:
        write_json(one.folder / START, {name: _left_by(need.folder) for name, need in one.needs.items()})


def _follow(one: Run, plan: Plan) -> None:
    """Where a plan was moved, or copied, let the settings of a run name what it needs where that is now."""
    ends = {f"/{Path(path).relative_to(plan.folder).as_posix()}": path for path in one.references}
    if not ends or not (one.folder / START).is_file() or (old := keep.settings_of(one.folder)) is None:
        return  # the weights themselves are compared by `start.json`
    moved = replaced(old, lambda text: next((path for end, path in ends.items() if text.endswith(end)), text))
    if moved != old:
        write_text(one.folder / keep.CONFIG, as_yaml(moved))


def _check_start(one: Run, plan: Plan) -> None:
    started = read_json(one.folder / START)
    for name, need in one.needs.items() if started is not None else ():
        if (need.folder / keep.SUMMARY).is_file() and (started or {}).get(name) != _left_by(need.folder):
            _refuse_other_weights(one, need, plan, f"{name} has now")


def _refuse_other_weights(one: Run, source: Run, plan: Plan, which: str) -> NoReturn:
    later = [source]
    for other in plan.runs:
        later += [other] if {*other.needs.values()} & {*later} else []
    folders = ", ".join(str(other.folder) for other in later[1:] if other.folder.exists())
    raise UserError(
        f"stage {one.name} in {one.folder} was started from other weights than {which}",
        f"delete {folders} to train again from the new ones, or start over with --restart",
    )


def _left_by(folder: Path) -> dict[str, str]:
    """What identifies the weights of a finished run; the run itself if it hands over none."""
    summary = keep.read_summary(folder) or {}
    whole = hashlib.sha256((folder / keep.SUMMARY).read_bytes()).hexdigest()
    return summary.get("weights") or {keep.SUMMARY: whole}


def _end(summary: Mapping[str, Any]) -> Progress:
    return Progress(summary["steps"], summary["steps"], summary["final"])


def _summary(one: Run) -> dict[str, Any]:
    return keep.read_summary(one.folder) or {}


def _link(plan: Plan) -> None:
    """Let cells find shared runs where they look for them."""
    for place, folder in plan.links.items():
        if place.is_symlink():
            place.unlink()
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(os.path.relpath(folder, place.parent), target_is_directory=True)


def _report(plan: Plan, jobs: int) -> None:
    """Write the reports: of each cell that has stages, and of the whole; a plain run has written its own."""
    for part in _parts(plan):
        StageTable().write(part, collect(part, jobs))
    if plan.seeds != (None,):
        (plan.report or MetricTable()).write(plan, collect(plan, jobs))
    elif plan.runs[0].folder != plan.folder:
        (plan.report or StageTable()).write(plan, collect(plan, jobs))


def _parts(plan: Plan) -> Iterator[Plan]:
    for row in plan.rows if plan.seeds != (None,) else ():
        for seed in plan.seeds:
            part = plan.part(row, seed)
            runs = part.cells[row.name, seed].values()
            if any(one.folder.resolve() != part.folder.resolve() for one in runs):
                part.folder.mkdir(parents=True, exist_ok=True)
                yield part
