"""Plans whose runs are finished, made by hand for the tests of reports."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from omnigen2.runner.plan import Cell, Plan, Rank, Results, Row, RunResult


def finished(
    folder: Path,
    cells: Mapping[Cell, Sequence[RunResult]],
    rows: Sequence[Row] | None = None,
    name: str = "toy",
    rank: Rank | None = None,
) -> tuple[Plan, Results]:
    """A plan, and what its runs have left."""
    names, seeds = (tuple(dict.fromkeys(part)) for part in zip(*cells, strict=True))
    own = tuple(rows) if rows is not None else tuple(Row(row, row, {}) for row in names)
    plan = Plan(name, folder, f"lightning run {name}.yaml", own, seeds, {cell: {} for cell in cells}, {}, rank=rank)
    return plan, Results(cells, {"python": "3"}, 2)
