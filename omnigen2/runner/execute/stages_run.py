"""Runs planned stages: finished ones stay, an interrupted one goes on, then the report is made anew."""

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from omnigen2.errors import UserError
from omnigen2.files import read_json, write_json, write_text
from omnigen2.runner import keep
from omnigen2.runner.execute.progress import Progress
from omnigen2.runner.execute.run import Output, run, takes_more_steps
from omnigen2.runner.plan import START, Stage, StagesPlan, taken
from omnigen2.runner.reports import StageResult, StagesResult


def run_stages(plan: StagesPlan, restart: bool, output: Output) -> dict[str, Any]:
    """Bring all stages to their end, wherever they stand; return the summary of the whole, as in `run.json`.

    Of several processes that train together, the first one alone cares for the folders.

    Raises:
        UserError: If a stage was run with other settings or from other weights before.
    """
    first = keep.is_first()
    with keep.locked(plan.folder, patience=2.0) if first else nullcontext():
        if first:
            if restart:
                keep.start_over(plan.folder, output.say)
            check_stages(plan)
            write_text(plan.folder / keep.STAGES, plan.text)
        for number, stage in enumerate(plan.stages, 1):
            title = f"{stage.name} ({number}/{len(plan.stages)})"
            if first:
                _prepare(stage, plan)
                if (twin := taken(stage, plan.twins.get(stage.name, ()))) is not None:
                    output.say(f"{stage.folder}: the same as {twin}, taken from there")
            part = replace(output, title=title, send=_as_part(output.send, plan, number - 1))
            run(stage.config, stage.folder, plan.command, restart=False, output=part)
        return _finish(plan) if first else {}


def are_finished(plan: StagesPlan) -> bool:
    """Whether there is nothing left to run."""
    summary = read_json(plan.folder / keep.SUMMARY) or {}
    names = [stage.name for stage in plan.stages]
    return summary.get("stages") == names and all(
        (stage.folder / keep.SUMMARY).is_file() and not takes_more_steps(stage.folder, stage.config)
        for stage in plan.stages
    )


def last_run(folder: Path) -> Path:
    """The folder of the run that a finished folder ends with: of its last stage, or itself if it has no stages."""
    stages: list[str] = (read_json(folder / keep.SUMMARY) or {}).get("stages", [])
    return folder / stages[-1] if stages else folder


def check_stages(plan: StagesPlan) -> None:
    """Refuse to mix two recipes, or old and new weights, in one folder.

    Raises:
        UserError: If a stage was run with other settings or from other weights before.
    """
    if (plan.folder / keep.CONFIG).exists():
        raise UserError(f"{plan.folder} holds a single run, not stages", keep.REMEDY)
    longer: list[str] = []
    for stage in plan.stages:
        try:
            longer += [stage.name] if takes_more_steps(stage.folder, stage.config) else []
        except UserError as error:
            raise error.at(f"stage {stage.name} has changed since it was run") from error
        _check_start(stage, plan)
        changing = sorted(_sources(stage, plan).keys() & set(longer))
        if changing and (stage.folder / keep.CONFIG).is_file():
            _refuse_other_weights(stage, plan, f"{changing[0]} will have after more steps")


def collect_stages(plan: StagesPlan) -> StagesResult:
    """Read from disk what a report needs of the finished stages."""

    def finished(stage: Stage) -> StageResult:
        summary = read_json(stage.folder / keep.SUMMARY) or {}
        return StageResult(stage.name, stage.start, stage.folder, keep.read_metrics(stage.folder), summary)

    return StagesResult(
        plan.name, plan.folder, tuple(map(finished, plan.stages)), command=plan.command, versions=keep.versions()
    )


def _as_part(
    send: Callable[[Progress], None] | None, plan: StagesPlan, before: int
) -> Callable[[Progress], None] | None:
    # Counts the steps of all stages together; if a stage is limited by epochs, nobody knows how many these are.
    if send is None:
        return None
    steps = [int(stage.config.values["trainer"]["max_steps"]) for stage in plan.stages]
    total = sum(steps) if all(number >= 0 for number in steps) else 0
    done = sum(steps[:before])
    return lambda part: send(Progress(done + part.step, total, part.metrics)) if total else send(part)


def _prepare(stage: Stage, plan: StagesPlan) -> None:
    # What the stage starts from is there; write down which weights it is.
    _check_start(stage, plan)
    for path, reference in stage.references.items():
        if not Path(path).exists():
            raise UserError(
                f"stage {stage.name} needs {reference}, but its stage is finished and there is no {path}",
                "(a run keeps the state of its optimizer only if it has exactly one)",
            )
    keep.claim(stage.folder)
    write_json(stage.folder / START, {name: _left_by(folder) for name, folder in _sources(stage, plan).items()})


def _check_start(stage: Stage, plan: StagesPlan) -> None:
    started = read_json(stage.folder / START)
    if started is None:
        return
    for name, folder in _sources(stage, plan).items():
        if (folder / keep.SUMMARY).is_file() and started.get(name) != _left_by(folder):
            _refuse_other_weights(stage, plan, f"{name} has now")


def _refuse_other_weights(stage: Stage, plan: StagesPlan, which: str) -> NoReturn:
    later = [s.folder for s in plan.stages[plan.stages.index(stage) :] if s.folder.exists()]
    raise UserError(
        f"stage {stage.name} in {stage.folder} was started from other weights than {which}",
        f"delete {', '.join(map(str, later))} to train again from the new ones, or start over with --restart",
    )


def _sources(stage: Stage, plan: StagesPlan) -> dict[str, Path]:
    names = {reference[1:].partition("/")[0] for reference in stage.references.values()}
    return {other.name: other.folder for other in plan.stages if other.name in names}


def _left_by(folder: Path) -> dict[str, str]:
    """What identifies the weights of a finished run; the run itself if it hands over none."""
    summary = read_json(folder / keep.SUMMARY) or {}
    whole = hashlib.sha256((folder / keep.SUMMARY).read_bytes()).hexdigest()
    return summary.get("weights") or {keep.SUMMARY: whole}


def _finish(plan: StagesPlan) -> dict[str, Any]:
    result = collect_stages(plan)
    plan.report.write(result)
    last = result.stages[-1].summary
    summary = {
        **{key: value for key, value in last.items() if key != "weights"},
        "command": plan.command,
        "steps": sum(stage.steps for stage in result.stages),
        "seconds": result.seconds,
        "stages": [stage.name for stage in result.stages],
    }
    write_json(plan.folder / keep.SUMMARY, summary)
    return summary
