"""Published rows, to be shown beside ours; `paper.yaml` has them and says what its models are."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import yaml

from omnigen2.files import StrictLoader


@dataclass(frozen=True, slots=True)
class PaperTable:
    """Rows of a published table.

    Attributes:
        source: Where they are printed.
        column: The score of our table that they are about.
        rows: For each model, its numbers by line of our table.
        note: What to know when comparing.
    """

    source: str
    column: str
    rows: Mapping[str, Mapping[str, float]]
    note: str


PAPERS: Mapping[str, tuple[PaperTable, ...]] = {
    benchmark: tuple(PaperTable(**table) for table in tables)
    for benchmark, tables in yaml.load(
        resources.files("omnigen2.evaluation.metrics").joinpath("paper.yaml").read_text(encoding="utf-8"),
        StrictLoader,  # noqa: S506  (a safe loader)
    ).items()
}
"""By benchmark; the plot has the first table."""
