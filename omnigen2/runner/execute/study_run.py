"""Runs a planned study: finished cells stay, interrupted ones go on, then the report is made anew."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from rich.console import Console

from omnigen2.errors import UserError
from omnigen2.files import read_json, write_text
from omnigen2.runner.execute.board import Board, print_line
from omnigen2.runner.execute.cell import Task
from omnigen2.runner.execute.pool import Failure, run_tasks, usable_cores
from omnigen2.runner.execute.run import takes_more_steps
from omnigen2.runner.execute.stages_run import are_finished, check_stages, last_run
from omnigen2.runner.keep import SUMMARY, first_table, locked, read_metrics, start_over, versions
from omnigen2.runner.plan import Config, Plan, StagesPlan, twins
from omnigen2.runner.reports import CellResult, StudyResult

STUDY = "study.yaml"
PROCESS_FAILED = 1


def run_study(plan: Plan, jobs: int | None, restart: bool) -> int:
    """Bring a study to its end, wherever it stands, with `jobs` runs side by side (None for one per core).

    Returns:
        0 if all cells are finished and the report is written, 1 if a cell failed.
    """
    console = Console()
    with locked(plan.folder):
        if restart:
            start_over(plan.folder, partial(print_line, console))
        tasks = open_tasks(plan)
        write_text(plan.folder / STUDY, plan.text)
        total = len(plan.configs)
        side_by_side = jobs or usable_cores()
        words = f"{len(tasks)} of {total} runs to do, {min(side_by_side, len(tasks))} at a time"
        words = words if tasks else f"all {total} runs are finished (--restart runs them again)"
        print_line(console, f"{plan.folder}: {words}")
        if failures := _run(plan, tasks, side_by_side, console) if tasks else []:
            for failure in failures:
                print_line(console, _describe_failure(failure))
            done = f"{total - len(failures)} of {total} runs are finished"
            print_line(console, f"{done}; no report without the others. The same command tries again.")
            return PROCESS_FAILED
        plan.report.write(collect(plan, side_by_side), plan.folder)
        print_line(console, first_table(plan.folder / "report.md"))
        return 0


def open_tasks(plan: Plan) -> list[Task]:
    """Find the cells that are not finished, all rows of the first seed first.

    Raises:
        UserError: If a cell was run with other settings before.
    """
    tasks: list[Task] = []
    shared = twins({cell: config for cell, config in plan.configs.items() if isinstance(config, StagesPlan)})
    for (row, seed), config in plan.configs.items():
        folder = plan.cell_folder(row, seed)
        try:
            if isinstance(config, Config):
                finished = not takes_more_steps(folder, config) and (folder / SUMMARY).is_file()
            else:
                check_stages(config)
                finished = are_finished(config)
        except UserError as error:
            raise error.at("the recipe has changed since this study was started") from error
        if not finished:
            tasks.append(Task(row, seed, folder, config.text, plan.command, shared.get((row, seed), {})))
    return tasks


def collect(plan: Plan, jobs: int) -> StudyResult:
    """Read from disk what a report needs of the finished cells, of which `jobs` ran side by side."""
    cells: list[CellResult] = []
    for row in plan.rows:
        for seed in plan.seeds:
            folder = plan.cell_folder(row.name, seed)
            metrics = read_metrics(last_run(folder))
            cells.append(CellResult(row.name, seed, folder, metrics, read_json(folder / SUMMARY) or {}))
    return StudyResult(
        name=plan.name,
        rows=plan.rows,
        seeds=plan.seeds,
        cells=tuple(cells),
        command=plan.command,
        seconds=sum(cell.summary["seconds"] for cell in cells),
        jobs=jobs,
        base=plan.base,
        versions=versions(),
    )


def _run(plan: Plan, tasks: list[Task], jobs: int, console: Console) -> list[Failure]:
    finished = {
        key: (read_json(plan.cell_folder(*key) / SUMMARY) or {})["final"]
        for key in plan.configs
        if key not in {(task.row, task.seed) for task in tasks}
    }
    documents = [config.values if isinstance(config, Config) else config.document for config in plan.configs.values()]
    modules = sorted({name for document in documents for name in _modules(document)})
    with Board(plan.rows, plan.seeds, finished, plan.watch, console) as board:
        # The share of threads must not depend on how many cells are left: it changes the last digits of sums.
        threads = max(1, usable_cores() // jobs)
        return run_tasks(tasks, jobs, threads, modules, board.update, board.tick)


def _modules(value: Any) -> Iterable[str]:
    # The modules of all classes that a configuration names.
    if isinstance(value, dict):
        path = value.get("class_path")
        if isinstance(path, str) and "." in path:
            yield path.rpartition(".")[0]
        for inner in value.values():
            yield from _modules(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _modules(inner)


def _describe_failure(failure: Failure) -> str:
    task = failure.task
    how = f"was ended by signal {-failure.exit_code}" if failure.exit_code < 0 else "failed"
    lines = "".join(f"\n    {line}" for line in failure.lines)
    return f"{task.row}, seed {task.seed} {how}; its log is {failure.log}{lines}"
