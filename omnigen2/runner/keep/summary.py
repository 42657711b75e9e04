"""What is written down when a run ends: `run.json`, and a short report."""

import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from torch import nn

from omnigen2.files import markdown_table, read_object, write_json, write_text
from omnigen2.runner.keep.metrics import read_metrics
from omnigen2.runner.keep.pointer import read_pointer
from omnigen2.runner.keep.resume import ResumePoint

SUMMARY = "run.json"
REPORTS = ("report.md", "report.json")


def summarize(
    trainer: Trainer, model: LightningModule, folder: Path, *, command: str, point: ResumePoint, seed: int | None
) -> dict[str, Any]:
    """Collect the facts of a finished run, as `run.json` holds them; `folder` has `metrics.csv`."""
    final = {name: value for row in read_metrics(folder) for name, value in row.items()}
    if not any("loss" in name for name in final):  # the run was shorter than the interval of the loggers
        final |= pointer.losses if (pointer := read_pointer(folder)) else {}
    return {
        "status": "finished",
        "steps": trainer.global_step,
        "epochs": point.epochs,
        "seconds": point.seconds,
        "seed": seed,
        "parameters": count(model.parameters()),
        "trainable": count(model.parameters(), trainable=True),
        "command": command,
        "versions": versions(),
        "final": {name: value for name, value in final.items() if name not in ("step", "epoch")},
    } | ({"starts_from": words} if isinstance(model, SaysStart) and (words := model.starts_from()) else {})


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Read `run.json` in the folder of a run; None if the run is not finished.

    Raises:
        UserError: If it is not what `summarize` returned.
    """
    if not (path := folder / SUMMARY).is_file():
        return None
    fields = read_object(path, remedy="delete the file; the same command writes it again")
    fields.whole("steps", low=0)
    fields.number("seconds")
    final = fields.object("final")
    if wrong := [name for name, value in final.values.items() if not isinstance(value, int | float)]:
        raise final.refusal(wrong[0], "a number")
    return dict(fields.values)


@runtime_checkable
class ReportSection(Protocol):
    """A callback that has something to say in the report of its run."""

    def report_section(self, folder: Path) -> str:
        """Markdown that stands first in `report.md`; `folder` is the run's."""
        ...


@runtime_checkable
class SaysStart(Protocol):
    """A module that knows where its training has started."""

    def starts_from(self) -> str:
        """In words, for the report; nothing if it started from nothing."""
        ...


def report_sections(trainer: Trainer, folder: Path) -> list[str]:
    """What the callbacks say in the report of their run."""
    callbacks: list[object] = list(trainer.callbacks)  # type: ignore[attr-defined]
    return [callback.report_section(folder) for callback in callbacks if isinstance(callback, ReportSection)]


def write_report(folder: Path, summary: dict[str, Any], sections: Sequence[str] = ()) -> None:
    """Write what `summarize` returned as `report.md` and `report.json`, unless the recipe's own classes wrote one."""
    if any((folder / name).exists() for name in REPORTS):
        return
    lines = [[name, f"{value:.6g}"] for name, value in sorted(summary["final"].items())]
    facts = [
        ["steps", str(summary["steps"])],
        ["minutes of training", f"{summary['seconds'] / 60:.1f}"],
        ["parameters", f"{summary['parameters']:,} ({summary['trainable']:,} trainable)"],
        ["seed", str(summary["seed"])],
        ["versions", ", ".join(f"{name} {number}" for name, number in summary["versions"].items())],
    ]
    facts += [["starts from", summary["starts_from"]]] if "starts_from" in summary else []
    tables = "\n\n".join([*sections, markdown_table(["metric", "final value"], lines), markdown_table(["", ""], facts)])
    write_json(folder / "report.json", summary)
    write_text(folder / "report.md", f"# {folder.name}\n\n{tables}\n\n    {summary['command']}\n")


def first_table(report: Path) -> str:
    """What of a report is worth printing: its first table, if `report` is a file with one, and where the rest is."""
    if not report.is_file():
        return f"report: {report.parent}"
    lines = report.read_text(encoding="utf-8").splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("|")), len(lines))
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    return "\n".join([*lines[start:end], f"report: {report}"])


def count(parameters: Iterable[nn.Parameter], trainable: bool = False) -> int:
    """Count numbers in parameters; of the trainable ones only if asked."""
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad or not trainable)


def versions() -> dict[str, str]:
    """The versions that a report names: of Python, torch, lightning and this library."""
    names = ("torch", "lightning", "omnigen2")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
