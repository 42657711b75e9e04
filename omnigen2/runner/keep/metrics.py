"""`metrics.csv`: written row by row, cut back to a checkpoint, read as numbers.

Lightning's own CSV logger deletes the file when a run starts again. This one goes on, and it can
forget the rows that a killed run wrote after its last checkpoint.
"""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger
from torch import Tensor
from typing_extensions import override

from omnigen2.files import write_text

FIRST = ("step", "epoch")


class CsvLogger(Logger):
    """Writes every row at once, so that a killed run loses none of them.

    The columns are `step`, `epoch`, then the metrics in alphabetical order. A new metric in the middle of a run widens
    the table. There is no name and no version: what callbacks write goes straight into the folder, which has one run.

    Args:
        folder: Where `metrics.csv` stands or will stand; an existing file is continued.
        beside: The recipe's own loggers. This one is the first, which a module calls `self.logger`; what it cannot do
            (`self.logger.experiment.add_image(…)`), the first of them that can does.
    """

    def __init__(self, folder: Path, beside: Sequence[Logger] = ()) -> None:
        super().__init__()
        self._beside = tuple(beside)
        self.folder = folder
        self.path = folder / "metrics.csv"
        self._table = _read(self.path)
        self._columns = list(self._table[0]) if self._table else []

    def __getattr__(self, name: str) -> Any:
        """What this logger has not, of the first one beside it that has.

        Raises:
            AttributeError: If none has.
        """
        for other in vars(self).get("_beside", ()):
            if hasattr(other, name):
                return getattr(other, name)
        raise AttributeError(f"the loggers of this run have no {name}; name one that has under trainer.logger")

    @property
    @override
    def name(self) -> str:
        return ""

    @property
    @override
    def version(self) -> str:
        return ""

    @property
    @override
    def log_dir(self) -> str:
        return str(self.folder)

    @property
    @override
    def save_dir(self) -> str:
        return str(self.folder)

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        return len(self._table)

    @rank_zero_only
    def keep(self, rows: int) -> None:
        """Forget all but the first `rows` rows.

        Raises:
            ValueError: If the file has fewer rows than that.
        """
        if rows > len(self._table):
            raise ValueError(f"{self.path} has {len(self._table)} rows, but its checkpoint was made after {rows}")
        self._table = self._table[:rows]
        used = {name for row in self._table for name, value in row.items() if value}
        self._columns = [name for name in self._columns if name in used]
        self._rewrite()

    @rank_zero_only
    @override
    def log_metrics(self, metrics: Mapping[str, float | Tensor], step: int | None = None) -> None:
        """Append one row; without a `step` it gets the number of the row."""
        values = {name: str(value.item() if isinstance(value, Tensor) else value) for name, value in metrics.items()}
        row = {"step": str(len(self._table) if step is None else step)} | values
        self._table.append(row)
        if set(row) <= set(self._columns):
            with self.path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        else:
            names = {*self._columns, *row}
            self._columns = [*(name for name in FIRST if name in names), *sorted(names - set(FIRST))]
            self._rewrite()

    @rank_zero_only
    @override
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Write nothing: `config.yaml` has all hyper-parameters."""

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(self._table)
        write_text(self.path, text.getvalue() if self._columns else "")


def read_metrics(folder: Path) -> tuple[dict[str, float], ...]:
    """Read the numbers of `metrics.csv`: one mapping per row, without the metrics that the row does not have."""
    return tuple({name: float(value) for name, value in row.items() if value} for row in _read(folder / "metrics.csv"))


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
