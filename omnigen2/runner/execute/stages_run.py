"""Runs planned stages: finished ones stay, an interrupted one goes on, then the report is made anew."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from omnigen2.errors import UserError
from omnigen2.files import read_json, write_json, write_text
from omnigen2.runner.dry_run import ASSUMED, Speed, describe
from omnigen2.runner.execute.progress import Progress
from omnigen2.runner.execute.run import Output, check_unchanged, run
from omnigen2.runner.keep import (
    CONFIG,
    REMEDY,
    STAGES,
    SUMMARY,
    claim,
    emptied,
    is_first,
    locked,
    read_metrics,
    versions,
)
from omnigen2.runner.plan import START, Stage, StagesPlan, taken
from omnigen2.runner.recipe import strings
from omnigen2.runner.reports import StageResult, StagesResult


def describe_stages(plan: StagesPlan, speed: Speed = ASSUMED) -> str:
    """Build every stage once and describe it; without its start where those weights do not exist yet.

    Args:
        plan: The stages.
        speed: Of the devices, for the time.

    Returns:
        A block per stage.
    """
    return "\n\n".join(
        f"stage {number} of {len(plan.stages)}: {stage.name}, starts from {stage.start or 'nothing'}\n"
        f"{_describe(stage, speed)}"
        for number, stage in enumerate(plan.stages, 1)
    )


def run_stages(plan: StagesPlan, restart: bool, output: Output) -> dict[str, Any]:
    """Bring all stages to their end, wherever they stand.

    Of several processes that train together, the first one alone cares for the folders.

    Args:
        plan: The stages.
        restart: Whether to delete what the folder has and start over with the first stage.
        output: Where words go.

    Returns:
        The summary of the whole, as in `run.json`.

    Raises:
        UserError: If a stage was run with other settings or from other weights before.
    """
    first = is_first()
    with locked(plan.folder, patience=2.0) if first else nullcontext():
        if first:
            if restart and (deleted := emptied(plan.folder)):
                output.say(f"starting over: deleted {', '.join(deleted)} in {plan.folder}")
            check_stages(plan)
            write_text(plan.folder / STAGES, plan.text)
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
    """Say whether all stages are finished.

    Args:
        plan: The stages.

    Returns:
        True if there is nothing left to run.
    """
    summary = read_json(plan.folder / SUMMARY) or {}
    names = [stage.name for stage in plan.stages]
    return summary.get("stages") == names and all((stage.folder / SUMMARY).is_file() for stage in plan.stages)


def last_run(folder: Path) -> Path:
    """Return the folder of the run that a finished folder ends with.

    Args:
        folder: A folder of one run, or of stages.

    Returns:
        The folder of the last stage; the folder itself if it has no stages.
    """
    stages: list[str] = (read_json(folder / SUMMARY) or {}).get("stages", [])
    return folder / stages[-1] if stages else folder


def check_stages(plan: StagesPlan) -> None:
    """Refuse to mix two recipes, or old and new weights, in one folder.

    Args:
        plan: The stages.

    Raises:
        UserError: If a stage was run with other settings or from other weights before.
    """
    if (plan.folder / CONFIG).exists():
        raise UserError(f"{plan.folder} holds a single run, not stages\n  {REMEDY}")
    for stage in plan.stages:
        try:
            check_unchanged(stage.folder, stage.config)
        except UserError as error:
            raise UserError(f"stage {stage.name} has changed since it was run: {error}") from error
        _check_start(stage, plan)


def collect_stages(plan: StagesPlan) -> StagesResult:
    """Read the finished stages from disk.

    Args:
        plan: The stages.

    Returns:
        What a report needs.
    """
    return StagesResult(
        name=plan.name,
        folder=plan.folder,
        stages=tuple(
            StageResult(s.name, s.start, s.folder, read_metrics(s.folder), read_json(s.folder / SUMMARY) or {})
            for s in plan.stages
        ),
        command=plan.command,
        versions=versions(),
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
                f"stage {stage.name} needs {reference}, but its stage is finished and there is no {path}\n"
                "  (a run keeps the state of its optimizer only if it has exactly one)"
            )
    claim(stage.folder)
    write_json(stage.folder / START, {name: _left_by(folder) for name, folder in _sources(stage, plan).items()})


def _check_start(stage: Stage, plan: StagesPlan) -> None:
    started = read_json(stage.folder / START)
    if started is None:
        return
    for name, folder in _sources(stage, plan).items():
        if (folder / SUMMARY).is_file() and started.get(name) != _left_by(folder):
            later = [s.folder for s in plan.stages[plan.stages.index(stage) :] if s.folder.exists()]
            raise UserError(
                f"stage {stage.name} in {stage.folder} was started from other weights than {name} has now\n"
                f"  delete {_listed(later)} to train again from the new ones, or start over with --restart"
            )


def _sources(stage: Stage, plan: StagesPlan) -> dict[str, Path]:
    names = {reference[1:].partition("/")[0] for reference in stage.references.values()}
    return {other.name: other.folder for other in plan.stages if other.name in names}


def _left_by(folder: Path) -> dict[str, str]:
    """What identifies the weights of a finished run; the run itself if it hands over none."""
    summary = read_json(folder / SUMMARY) or {}
    whole = hashlib.sha256((folder / SUMMARY).read_bytes()).hexdigest()
    return summary.get("weights") or {SUMMARY: whole}


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
    write_json(plan.folder / SUMMARY, summary)
    return summary


def _describe(stage: Stage, speed: Speed) -> str:
    missing = [path for path in stage.references if not Path(path).exists()]
    if not missing:
        return describe(stage.config, speed)
    built_without = f"(built without {_listed([stage.references[path] for path in missing])})"
    try:  # a module that reads its weights in configure_model can be described before there are any
        return f"{describe(stage.config, speed)}\n{built_without}"
    except (UserError, OSError) as error:
        held = [stage.references[path] for path in missing if path in strings(stage.alone.values)]
        if held:
            return f"cannot be built before there is {_listed(held)} ({str(error).splitlines()[0]})"
    return f"{describe(stage.alone, speed)}\n{built_without}"


def _listed(things: Sequence[object]) -> str:
    return ", ".join(map(str, things))
