"""The one shape that all judged benchmarks share: means within groups, then means over groups."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from omnigen2.evaluation.metrics.summary import Line, Summary

Column: TypeAlias = Float[Tensor, " samples"]
"""One score of each sample."""
Valid: TypeAlias = Bool[Tensor, " samples"]
Rows: TypeAlias = Mapping[str, Sequence[Sequence[str]]]
"""For each line of the result: groups of group names. Samples are pooled within an inner sequence, and the means of
the inner sequences are averaged."""


class GroupedMean(Metric):
    """Mean scores per group and the unweighted mean over groups, as sums that add up exactly over processes.

    A failed judgement is counted and enters no mean. A group without a valid judgement is left out of the mean over
    groups, and the summary says so: it is not a zero.

    Args:
        groups: Names of the groups. They are fixed, so that processes never exchange names.
        columns: Names of the scores.
        rows: The lines of the result by name, the last is the result; by default one line per group and `"overall"`.
        lowest: The worst score that a judge can give.
        digits: After the decimal point, in the text form.

    Raises:
        ValueError: If names repeat, or a row names an unknown group.
    """

    full_state_update: bool | None = False
    higher_is_better: bool | None = True
    is_differentiable: bool | None = False
    sums: Float[Tensor, "groups columns"]
    valid: Float[Tensor, " groups"]
    total: Float[Tensor, " groups"]

    def __init__(
        self,
        title: str,
        groups: Sequence[str],
        columns: Sequence[str],
        rows: Rows | None = None,
        lowest: float = 0.0,
        highest: float = 10.0,
        digits: int = 2,
    ) -> None:
        super().__init__()
        self.title, self.digits = title, digits
        self.groups = {name: index for index, name in enumerate(groups)}
        self.columns = tuple(columns)
        self.rows: Rows = rows or {**{name: [[name]] for name in groups}, "overall": [[name] for name in groups]}
        self.lowest, self.highest = lowest, highest
        if len(self.groups) != len(groups) or not groups:
            raise ValueError(f"{title} needs group names that differ, got {list(groups)}")
        unknown = {name for row in self.rows.values() for pool in row for name in pool} - set(groups)
        if unknown:
            raise ValueError(f"{title}: rows name the unknown groups {sorted(unknown)}; the groups are {list(groups)}")
        self.add_state("sums", torch.zeros(len(groups), len(columns), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("valid", torch.zeros(len(groups), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(len(groups), dtype=torch.float64), dist_reduce_fx="sum")

    def add(self, groups: Sequence[str], scores: Float[Tensor, "samples columns"], valid: Valid | None = None) -> None:
        """Count judgements.

        Args:
            scores: In [lowest, highest]; those of failed judgements are ignored and may be anything.
            valid: False where the judgement failed; by default all are valid.

        Raises:
            ValueError: If a group is unknown, the numbers of samples differ, or a valid score is out of range.
        """
        index, ok = self._checked(groups, scores, valid)
        wide = torch.where(ok[:, None], scores.to(self.sums.device, torch.float64), 0.0)
        self.sums.index_add_(0, index, wide)
        self.valid.index_add_(0, index, ok.double())
        self.total.index_add_(0, index, torch.ones_like(ok, dtype=torch.float64))

    @override
    def compute(self) -> dict[str, Tensor]:
        """The means.

        Returns:
            `"COLUMN"` of the whole benchmark, `"LINE/COLUMN"`, `"valid"` and `"total"`, `"LINE/valid"` and
            `"LINE/total"`, for the lines that have judgements; float64 scalars.
        """
        found: dict[str, Tensor] = {}
        for name, line in self._lines().items():
            whole = name == list(self.rows)[-1]
            if not line.total and not whole:
                continue
            pairs = {**line.values, "valid": float(line.valid), "total": float(line.total)}
            for key, value in pairs.items():
                at = torch.tensor(value, dtype=torch.float64, device=self.sums.device)
                found[f"{name}/{key}"] = at
                if whole:
                    found[key] = at
        return found

    def summary(self) -> Summary:
        """The means as a table, over all processes."""
        sync = self._to_sync and not self._is_synced
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=sync, should_unsync=sync):
            return Summary(self.title, self.columns, tuple(self._lines().values()), self.digits)

    def __str__(self) -> str:
        return str(self.summary())

    def _lines(self) -> dict[str, Line]:
        sums, valid, total = self.sums.cpu(), self.valid.cpu(), self.total.cpu()
        missing = torch.full((len(self.columns),), torch.nan, dtype=torch.float64)
        found: dict[str, Line] = {}
        for name, row in self.rows.items():
            pools = [[self.groups[group] for group in pool] for pool in row]
            seen = [pool for pool in pools if valid[pool].sum() > 0]
            means = torch.stack([sums[pool].sum(0) / valid[pool].sum() for pool in seen]).mean(0) if seen else missing
            values = dict(zip(self.columns, means.tolist(), strict=True))
            everything = [index for pool in pools for index in pool]
            judged, asked = (round(number[everything].sum().item()) for number in (valid, total))
            found[name] = Line(name, values, judged, asked, len(seen), len(pools))
        return found

    def _checked(
        self, groups: Sequence[str], scores: Float[Tensor, "samples columns"], valid: Valid | None
    ) -> tuple[Tensor, Valid]:
        """Indices of the groups, and which samples count; on the metric's device.

        Raises:
            ValueError: See `add`.
        """
        unknown = sorted(set(groups) - set(self.groups))
        if unknown:
            raise ValueError(f"{self.title} has no group {unknown[0]!r}; the groups are {', '.join(self.groups)}")
        if len(groups) != len(scores) or (valid is not None and len(valid) != len(scores)):
            flags = "no flags" if valid is None else f"{len(valid)} flags"
            raise ValueError(f"{self.title} got {len(groups)} groups, {len(scores)} scores and {flags}; give one each")
        device = self.sums.device
        ok = torch.ones(len(scores), dtype=torch.bool) if valid is None else valid
        wrong = ok.to(scores.device)[:, None] & ~((scores >= self.lowest) & (scores <= self.highest))
        if wrong.any():
            sample, column = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"{self.title}: {self.columns[column]} of sample {sample} is {scores[sample, column].item()}, "
                f"expected {self.lowest:g} to {self.highest:g}; mark a failed judgement with valid=False"
            )
        return torch.tensor([self.groups[name] for name in groups], device=device, dtype=torch.long), ok.to(device)


class Share(GroupedMean):
    """The share of samples that have a property, by group."""

    def __init__(self, title: str, groups: Sequence[str], column: str) -> None:
        super().__init__(title, groups, (column,), highest=1.0)

    def update(self, groups: Sequence[str], hits: Column, valid: Valid | None = None) -> None:
        """Count samples.

        Args:
            hits: In [0, 1]; usually 0 or 1.

        Raises:
            ValueError: If a group is unknown, numbers differ, or a valid number is out of range.
        """
        self.add(groups, hits.double()[:, None], valid)
