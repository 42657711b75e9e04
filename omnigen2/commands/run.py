"""`omnigen2 run`, which is also `lightning run`: train what a recipe describes. Imports nothing heavy before it starts.

`lightning run RECIPE` is ours; everything else that the command `lightning` can do belongs to
Lightning's own tool (the package lightning-sdk), to which we hand it over if it is installed.
"""

import argparse
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, cast

from typing_extensions import override

from omnigen2.errors import UserError

DESCRIPTION = """\
Train what a recipe describes. The same command again goes on where the last one stopped.

A recipe is a YAML file: one run (trainer, model, data, …), stages (runs that start from each other's weights), or a
study (a table of runs). Further YAML files are layers over it; --KEY=VALUE changes one setting, last of all:

  lightning run recipes/rope_toy.yaml
  lightning run recipes/rope_toy.yaml --trainer.max_steps=50 --study.seeds=[0]

With stages, --KEY=VALUE is for all of them and --stages.NAME.KEY=VALUE for one; --restart starts over with the first.
Each stage has its own folder under runs/RECIPE/, named after it; its weights/ are what later stages start from.

Everything is written under runs/RECIPE/: config.yaml, metrics.csv, checkpoints/, report.md, report.json.
Classes are found by their import path, also in the current folder.

The runs of a study go side by side on this machine, or to a cluster; a recipe can say so too, in a block `machines`:

  lightning run STUDY.yaml --executor=slurm --partition=gpu --gpus=1 --time=4:00:00
"""
MODES = ("print_config", "dry_run", "validate", "test")
LOST = re.compile(r"gloo/transport.*(closed|reset) by peer|NCCL.*remote process exited")
"""What processes that train together hear of one that has ended."""
MACHINES = ("executor", "jobs", "gpus", "cpus", "memory", "time", "partition", "account", "qos")
"""Options that say where runs are carried out."""


def lightning_main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `lightning`: `run RECIPE` here, everything else in Lightning's own tool.

    Args:
        arguments: What follows the command's name; from `sys.argv` if not given.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["run"] and words[1:2] not in (["job"], ["mmt"]):
        return main(words[1:])
    if importlib.util.find_spec("lightning_sdk") is None:
        theirs = " ".join(["lightning", *words[:2]])
        print(
            "lightning: `lightning run RECIPE.yaml` (from omnigen2) is the one command here; "
            f"for Lightning's cloud tool (`{theirs}`) pip install lightning-sdk",
            file=sys.stderr,
        )
        return 2
    entry = importlib.import_module("lightning_sdk.cli.entrypoint")
    return int(entry.main_cli(args=words, prog_name="lightning") or 0)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status.

    Raises:
        RuntimeError: If it is neither an error for the user, nor of a process that has lost another one.
    """
    try:
        return _launch(*parse_run(arguments))
    except UserError as error:
        if "--verbose" in arguments:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if "--verbose" in arguments:
            traceback.print_exc()
        file = f"{error.filename}: " if error.filename else ""
        print(f"error: {file}{error.strerror or error} (--verbose shows where)", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if not LOST.search(str(error)) or "--verbose" in arguments:
            raise
        lines = (
            "error: another process of this training has ended",
            "  it says why, unless it was killed, as for memory; then the same command goes on (--verbose shows where)",
        )
        print("\n".join(lines), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


def _launch(options: argparse.Namespace, settings: list[str]) -> int:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    from omnigen2.runner import Options, launch

    return launch(
        Options(
            files=tuple(options.files),
            overrides=tuple(settings),
            out=options.out,
            machines={name: getattr(options, name) for name in MACHINES},
            restart=options.restart,
            verbose=options.verbose,
            mfu=options.mfu,
            peak_tflops=options.peak_tflops,
            mode=cast(Any, next((mode for mode in MODES if getattr(options, mode)), "run")),
        )
    )


def parse_run(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Separate the command's own options from the recipe's settings.

    Returns:
        The options, and the settings of the form `--key=value`.

    Raises:
        UserError: If an option is unknown, or no recipe is named.
    """
    parser = _Parser(
        prog="lightning run",
        usage="lightning run RECIPE.yaml [LAYER.yaml …] [--KEY=VALUE …] [options]",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="RECIPE.yaml", help="the recipe, then layers over it")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write here instead of runs/RECIPE")
    parser.add_argument("--restart", action="store_true", help="delete what was written before and start over")
    parser.add_argument("--jobs", type=int, metavar="N", help="study: runs side by side (default: one per core)")
    parser.add_argument("--executor", choices=("here", "local", "slurm", "ray"), help="what carries the runs out")
    parser.add_argument("--gpus", type=int, metavar="N", help="of each run (default: its trainer.devices)")
    parser.add_argument("--cpus", type=int, metavar="N", help="slurm, ray: of each process of a run")
    parser.add_argument("--memory", type=float, metavar="GB", help="slurm, ray: of each run")
    parser.add_argument("--time", help="slurm: minutes or H:MM:SS; a run that needs more goes on (default: 60)")
    for name in ("partition", "account", "qos"):
        parser.add_argument(f"--{name}", metavar="NAME", help=f"slurm: the {name} of the runs")
    parser.add_argument("--dry_run", "--dry-run", action="store_true", help="build everything, train nothing")
    parser.add_argument("--mfu", type=float, metavar="SHARE", help="dry run: model FLOPs utilization (default: 0.4)")
    parser.add_argument(
        "--peak_tflops", type=float, metavar="N", help="dry run: of one device (default: 989, an H100 in bf16)"
    )
    parser.add_argument("--print_config", "--print-config", action="store_true", help="print the resolved settings")
    parser.add_argument("--validate", action="store_true", help="validate what was trained so far, train nothing")
    parser.add_argument("--test", action="store_true", help="likewise, with the model's test")
    parser.add_argument("--verbose", action="store_true", help="show tracebacks and Lightning's messages")
    own = [name for action in parser._actions for name in action.option_strings]
    settings = [word for word in arguments if word.startswith("--") and "=" in word and word.split("=")[0] not in own]
    options, rest = parser.parse_known_intermixed_args([word for word in arguments if word not in settings])
    if rest:
        near = get_close_matches(rest[0], own, n=1)
        hint = f"did you mean {near[0]}?" if near else "a recipe's settings are written --key=value"
        raise UserError(f"unknown option {rest[0]}; {hint}")
    if not options.files:
        raise UserError("no recipe is named; write `lightning run RECIPE.yaml` (--help says more)")
    if len(asked := [f"--{mode}" for mode in MODES if getattr(options, mode)]) > 1:
        raise UserError(f"{' and '.join(asked)} are different things to do", "give one of them")
    if options.restart and asked:
        raise UserError(f"--restart deletes what was trained, and {asked[0]} trains nothing", "give one of them")
    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"--jobs must be at least 1, got {options.jobs}")
    if options.mfu is not None and not 0 < options.mfu <= 1:
        raise UserError(f"--mfu is a share above 0 and at most 1, got {options.mfu}; 0.4 is usual")
    if options.peak_tflops is not None and not 0 < options.peak_tflops < float("inf"):
        raise UserError(f"--peak_tflops must be positive, got {options.peak_tflops}; an H100 has 989 in bf16")
    if not options.dry_run and (options.mfu, options.peak_tflops) != (None, None):
        raise UserError("--mfu and --peak_tflops are for estimates; add --dry_run")
    return options, settings


class _Parser(argparse.ArgumentParser):
    """Raises instead of leaving the process."""

    @override
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help shows the options)")
