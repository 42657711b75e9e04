"""What `lightning run` does with a recipe: run it, or show what it would do."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, assert_never

from omnigen2.errors import UserError
from omnigen2.runner.recipe import Recipe, arguments, read_recipe

if TYPE_CHECKING:
    from omnigen2.runner.plan import Config, Plan, StagesPlan

Mode = Literal["run", "dry_run", "print_config"]


@dataclass(frozen=True)
class Options:
    """One command line.

    Attributes:
        files: The recipe and the layers over it.
        overrides: Settings of the form `--key=value`.
        out: The output folder; None for `runs/<recipe>`.
        jobs: How many runs of a study go side by side; None for one per core.
        mfu: Share of the peak for estimates; None for the default. Likewise `peak_tflops` of one device.
    """

    files: tuple[Path, ...]
    overrides: tuple[str, ...]
    out: Path | None
    jobs: int | None
    restart: bool
    verbose: bool
    mfu: float | None
    peak_tflops: float | None
    mode: Mode


def launch(options: Options) -> int:
    """Do what a command line asks for; return the exit status."""
    recipe = replace(read_recipe(options.files, options.overrides), out=options.out)
    folder = options.out or Path("runs") / recipe.name
    plan = _planned(recipe, folder, silent=not options.verbose)
    match options.mode:
        case "print_config":
            print(plan.text, end="")
        case "dry_run":
            from omnigen2.runner.dry_run import Speed, describe_plan

            description = describe_plan(plan, Speed.of(options.mfu, options.peak_tflops))
            print(f"{plan.text}\n{description}\noutput would go to {folder}/; nothing was trained or written")
        case "run":
            return _run(plan, recipe, folder, options)
        case _:
            assert_never(options.mode)
    return 0


def _planned(recipe: Recipe, folder: Path, silent: bool) -> "Config | StagesPlan | Plan":
    from omnigen2.runner.execute import quiet
    from omnigen2.runner.keep import check_launch, is_first, started_together
    from omnigen2.runner.plan import Config, plan_stages, plan_study

    quiet(silent)
    check_launch()
    match recipe.form:
        case "plain":
            return Config(arguments(recipe.files, recipe.documents, recipe.overrides), recipe.files)
        case "stages":
            return plan_stages(recipe, folder)
        case "study":
            if not is_first() or started_together() > 1:
                alone = "start it once, without torchrun or srun"
                raise UserError(f"a study starts the processes of its runs itself; {alone}")
            return plan_study(recipe, folder)
        case _:
            assert_never(recipe.form)


def _run(plan: "Config | StagesPlan | Plan", recipe: Recipe, folder: Path, options: Options) -> int:
    from omnigen2.runner.execute import Output, run, run_stages, run_study
    from omnigen2.runner.keep import first_table
    from omnigen2.runner.plan import Config, StagesPlan

    output = Output(say=say, send=None, terminal=sys.stdout.isatty(), verbose=options.verbose)
    if isinstance(plan, Config):
        run(plan, folder, recipe.command, options.restart, output)
        say(f"report: {folder / 'report.md'}")
    elif isinstance(plan, StagesPlan):
        run_stages(plan, options.restart, output)
        say(first_table(folder / "report.md"))
    else:
        return run_study(plan, options.jobs, options.restart)
    return 0


def say(line: str) -> None:
    """Print one line at once; of several processes that train together only the first one speaks."""
    from omnigen2.runner.keep import is_first

    if is_first():
        print(line, flush=True)
