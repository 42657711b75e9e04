"""Describes whatever a recipe plans: one run, each of its stages, or each row of its study."""

from pathlib import Path
from typing import assert_never

from omnigen2.errors import UserError
from omnigen2.runner.dry_run.describe import describe
from omnigen2.runner.dry_run.estimates import ASSUMED, Speed
from omnigen2.runner.plan import Config, Plan, Stage, StagesPlan
from omnigen2.runner.recipe import strings


def describe_plan(plan: Config | StagesPlan | Plan, speed: Speed = ASSUMED) -> str:
    """Build each run once and describe it in a block: of a study's rows those of the first seed.

    A stage is built without its start where those weights do not exist yet.
    """
    match plan:
        case Config():
            return describe(plan, speed)
        case StagesPlan():
            heads = [f"stage {number} of {len(plan.stages)}: " for number in range(1, len(plan.stages) + 1)]
            return "\n\n".join(
                f"{head}{stage.name}, starts from {stage.start or 'nothing'}\n{_describe_stage(stage, speed)}"
                for head, stage in zip(heads, plan.stages, strict=True)
            )
        case Plan():
            rows, seeds = len(plan.rows), len(plan.seeds)
            parts = [
                f"row {row.name} ({row.title})\n{describe_plan(plan.configs[row.name, plan.seeds[0]], speed)}"
                for row in plan.rows
            ]
            return "\n\n".join([*parts, f"{rows} rows × {seeds} seeds = {rows * seeds} runs"])
        case _:
            assert_never(plan)


def _describe_stage(stage: Stage, speed: Speed) -> str:
    missing = [path for path in stage.references if not Path(path).exists()]
    if not missing:
        return describe(stage.config, speed)
    built_without = f"(built without {', '.join(stage.references[path] for path in missing)})"
    try:  # a module that reads its weights in configure_model can be described before there are any
        return f"{describe(stage.config, speed)}\n{built_without}"
    except (UserError, OSError) as error:
        alone = stage.alone()
        held = [stage.references[path] for path in missing if path in strings(alone.values)]
        if held:
            return f"cannot be built before there is {', '.join(held)} ({str(error).splitlines()[0]})"
    return f"{describe(alone, speed)}\n{built_without}"
