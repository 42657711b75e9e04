"""Describes whatever a recipe plans: each of its runs once."""

from pathlib import Path

from omnigen2.errors import UserError
from omnigen2.runner.dry_run.describe import describe
from omnigen2.runner.dry_run.estimates import ASSUMED, Speed
from omnigen2.runner.keep import OPTIMIZER_ARGUMENT, WEIGHTS
from omnigen2.runner.plan import Plan, Run


def describe_plan(plan: Plan, speed: Speed = ASSUMED) -> str:
    """Build each run once and describe it in a block: of a study's rows those of the first seed.

    A run is built without its start where those weights do not exist yet.
    """
    parts: list[str] = []
    described: set[Run] = set()
    for row in plan.rows:
        stages = plan.cells[row.name, plan.seeds[0]]
        head = [f"row {row.name} ({row.title})"] if plan.seeds != (None,) else []
        for number, (stage, run) in enumerate(stages.items(), 1):
            if run.folder not in (plan.folder, plan.cell_folder(row.name, plan.seeds[0])):
                start = next((name for name, need in run.needs.items() if need is run.start), "nothing")
                head.append(f"stage {number} of {len(stages)}: {stage}, starts from {start}")
            text = "the same as before" if run in described else _describe(run, speed)
            described.add(run)
            parts.append("\n".join([*head, text]))
            head = []
    if plan.seeds != (None,):
        rows, seeds = len(plan.rows), len(plan.seeds)
        shared = "" if len(plan.runs) == rows * seeds else f" in {len(plan.runs)} different stages"
        parts.append(f"{rows} rows × {seeds} seeds = {rows * seeds} runs{shared}")
    return "\n\n".join(parts)


def _describe(run: Run, speed: Speed) -> str:
    missing = {path: reference for path, reference in run.references.items() if not Path(path).exists()}
    if not missing:
        return describe(run.config, speed)
    built_without = f"(built without {', '.join(missing.values())})"
    try:  # a module that reads its weights in configure_model can be described before there are any
        return f"{describe(run.config, speed)}\n{built_without}"
    except (UserError, OSError) as error:
        arguments = run.config.values["model"].get("init_args") or {}
        started = [key for key in (WEIGHTS, OPTIMIZER_ARGUMENT) if arguments.get(key) in missing]
        others = [name for path, name in missing.items() if path not in [arguments[key] for key in started]]
        if others:
            return f"cannot be built before there is {', '.join(others)} ({str(error).splitlines()[0]})"
    return f"{describe(run.config.with_arguments(dict.fromkeys(started)), speed)}\n{built_without}"
