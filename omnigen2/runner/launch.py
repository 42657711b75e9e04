"""What `lightning run` does with a recipe: run it, or show what it would do."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

from omnigen2.runner.recipe import Recipe, arguments, read_recipe

Mode = Literal["run", "dry_run", "print_config"]


@dataclass(frozen=True)
class Options:
    """One command line.

    Attributes:
        files: The recipe and the layers over it.
        overrides: Settings of the form `--key=value`.
        out: The output folder; None for `runs/<recipe>`.
        jobs: How many runs of a study go side by side; None for one per core.
        restart: Whether to delete earlier output and start over.
        verbose: Whether to show Lightning's messages.
        mfu: Share of the peak for estimates; None for the default.
        peak_tflops: Peak of one device for estimates; None for the default.
        mode: Whether to run, to build only, or to print the settings only.
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
    """Do what a command line asks for.

    Args:
        options: The command line.

    Returns:
        The exit status.
    """
    recipe = read_recipe(options.files, options.overrides)
    folder = options.out or Path("runs") / recipe.name
    match recipe.form:
        case "plain":
            return _launch_plain(recipe, folder, options)
        case "stages":
            return _launch_stages(recipe, folder, options)
        case "study":
            return _launch_study(recipe, folder, options)
        case _:
            assert_never(recipe.form)


def _launch_plain(recipe: Recipe, folder: Path, options: Options) -> int:
    from omnigen2.runner.dry_run import Speed, describe
    from omnigen2.runner.execute import Output, quiet, run
    from omnigen2.runner.plan import Config

    config = Config(arguments(recipe.files, recipe.documents, recipe.overrides), recipe.files)
    match options.mode:
        case "print_config":
            print(config.text, end="")
        case "dry_run":
            speed = Speed.of(options.mfu, options.peak_tflops)
            quiet(not options.verbose)
            print(f"{config.text}\n{describe(config, speed)}\n{_nothing_written(folder)}")
        case "run":
            quiet(not options.verbose)
            output = Output(say=say, send=None, terminal=sys.stdout.isatty(), verbose=options.verbose)
            run(config, folder, recipe.command, options.restart, output)
            output.say(f"report: {folder / 'report.md'}")
        case _:
            assert_never(options.mode)
    return 0


def _launch_stages(recipe: Recipe, folder: Path, options: Options) -> int:
    from omnigen2.runner.dry_run import Speed
    from omnigen2.runner.execute import Output, describe_stages, quiet, run_stages
    from omnigen2.runner.keep import first_table, is_first
    from omnigen2.runner.plan import plan_stages

    quiet(not options.verbose)
    plan = plan_stages(recipe, folder)
    match options.mode:
        case "print_config":
            print(plan.text, end="")
        case "dry_run":
            speed = Speed.of(options.mfu, options.peak_tflops)
            print(f"{plan.text}\n{describe_stages(plan, speed)}\n{_nothing_written(folder)}")
        case "run":
            output = Output(say=say, send=None, terminal=sys.stdout.isatty(), verbose=options.verbose)
            run_stages(plan, options.restart, output)
            if is_first():
                output.say(first_table(folder / "report.md"))
        case _:
            assert_never(options.mode)
    return 0


def _launch_study(recipe: Recipe, folder: Path, options: Options) -> int:
    from omnigen2.errors import UserError
    from omnigen2.runner.dry_run import Speed
    from omnigen2.runner.execute import describe_study, quiet, run_study
    from omnigen2.runner.keep import is_first, started_together
    from omnigen2.runner.plan import plan_study

    if not is_first() or started_together() > 1:
        raise UserError("a study starts the processes of its runs itself; start it once, without torchrun or srun")
    quiet(not options.verbose)
    plan = plan_study(recipe, folder)
    match options.mode:
        case "print_config":
            print(plan.text, end="")
        case "dry_run":
            speed = Speed.of(options.mfu, options.peak_tflops)
            print(f"{plan.text}\n{describe_study(plan, speed)}\n{_nothing_written(folder)}")
        case "run":
            return run_study(plan, options.jobs, options.restart)
        case _:
            assert_never(options.mode)
    return 0


def say(line: str) -> None:
    """Print one line at once; of several processes that train together only the first one speaks.

    Args:
        line: The line.
    """
    from omnigen2.runner.keep import is_first

    if is_first():
        print(line, flush=True)


def _nothing_written(folder: Path) -> str:
    return f"output would go to {folder}/; nothing was trained or written"
