"""What `lightning run` does with a recipe: run it, or show what it would do."""

import gc
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never

from omnigen2.errors import UserError
from omnigen2.runner.recipe import Recipe, read_recipe

if TYPE_CHECKING:
    from omnigen2.runner.plan import Plan

Mode = Literal["run", "dry_run", "print_config", "validate", "test"]


@dataclass(frozen=True)
class Options:
    """One command line.

    Attributes:
        files: The recipe and the layers over it.
        overrides: Settings of the form `--key=value`.
        out: The output folder; None for `runs/<recipe>`.
        machines: Options over the block `machines` of the recipe, by their names; those that are None are not given.
        mfu: Share of the peak for estimates; None for the default. Likewise `peak_tflops` of one device.
    """

    files: tuple[Path, ...]
    overrides: tuple[str, ...] = ()
    out: Path | None = None
    machines: Mapping[str, Any] = field(default_factory=dict[str, Any])
    restart: bool = False
    verbose: bool = False
    mfu: float | None = None
    peak_tflops: float | None = None
    mode: Mode = "run"


def launch(options: Options) -> int:
    """Do what a command line asks for; return the exit status.

    Raises:
        UserError: If the recipe, an option or the folder cannot be used.
    """
    recipe = replace(read_recipe(options.files, options.overrides), out=options.out)
    gc.disable()  # imports leave little garbage, and looking for it takes a sixth of their time
    try:
        planned = _planned(recipe, options)
    finally:
        gc.enable()
    from omnigen2.runner.execute import elsewhere_for, execute

    match options.mode:
        case "print_config":
            print(planned.text, end="")
        case "dry_run":
            from omnigen2.runner.dry_run import Speed, describe_plan

            description = describe_plan(planned, Speed.of(options.mfu, options.peak_tflops))
            print(
                f"{planned.text}\n{description}\noutput would go to {planned.folder}/; nothing was trained or written"
            )
        case "validate" | "test":
            _check(planned, options.mode)
        case "run":
            return execute(planned, options.restart, options.verbose, elsewhere_for(planned, say))
        case _:
            assert_never(options.mode)
    return 0


def _planned(recipe: Recipe, options: Options) -> "Plan":
    from omnigen2.runner.execute import quiet
    from omnigen2.runner.keep import check_launch, is_first, started_together
    from omnigen2.runner.plan import plan

    quiet(not options.verbose)
    check_launch()
    if recipe.form == "study" and (not is_first() or started_together() > 1):
        raise UserError("a study starts the processes of its runs itself; start it once, without torchrun or srun")
    made = plan(recipe, options.out or Path("runs") / recipe.name)
    return replace(made, machines=made.machines.under(options.machines))


def say(line: str) -> None:
    """Print one line at once; of several processes that train together only the first one speaks."""
    from omnigen2.runner.keep import is_first

    if is_first():
        print(line, flush=True)


def _check(planned: "Plan", which: Literal["validate", "test"]) -> None:
    from omnigen2.runner.execute import check
    from omnigen2.runner.keep import committed_checkpoint

    runs = [run for run in planned.runs if len(planned.runs) == 1 or committed_checkpoint(run.folder)]
    if not runs:
        raise UserError(f"none of the {len(planned.runs)} runs in {planned.folder} has begun", "train first")
    for run in runs:
        check(run.config, run.folder, which, say)
