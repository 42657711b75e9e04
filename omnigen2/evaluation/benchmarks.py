"""The benchmarks by name: where their items are, what a judge must say, and how that is averaged."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from omnigen2.evaluation.judging import ChoiceAccuracy, EmuEdit, Item, Judgement, Record
from omnigen2.evaluation.metrics import EditBench, GenEval, GroupedMean, ImgEditBench, OmniContext, PaperTable, Summary

Reader: TypeAlias = Callable[[Path, Path | None], list[Item]]
"""From the folder of pictures and the folder of the data set to the items."""


@dataclass(frozen=True)
class Benchmark(ABC):
    """A benchmark that `omnigen2 evaluate` knows.

    Attributes:
        name: On the command line.
        items: Finds the items on disk.
        papers: Published rows to show beside ours; the plot has those of the first.
    """

    name: str
    items: Reader
    papers: tuple[PaperTable, ...] = ()
    scores: ClassVar[tuple[str, ...]]
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float]

    @abstractmethod
    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        """The metrics, with all records counted.

        Args:
            records: Of a result.

        Returns:
            The first is the benchmark's own.
        """

    def summaries(self, records: Sequence[Record]) -> list[Summary]:
        """The tables.

        Args:
            records: Of a result.
        """
        return [metric.summary() for metric in self.metrics(records)]

    def checked(self, judgement: Judgement) -> Judgement:
        """Refuse scores that the benchmark cannot use.

        Args:
            judgement: From a judge.

        Returns:
            The same; or a failed one, if a score is missing or out of range.
        """
        if not judgement.valid:
            return judgement
        missing = [name for name in self.scores if name not in judgement.scores]
        if missing:
            return Judgement(problem=f"the judge gave no {missing[0]}")
        for name in {*self.scores, *(judgement.scores.keys() & {"overall", "graded"})}:
            if not self.lowest <= judgement.scores[name] <= self.highest:
                expected = f"expected {self.lowest:g} to {self.highest:g}"
                return Judgement(problem=f"{name} is {judgement.scores[name]:g}, {expected}")
        return judgement


@dataclass(frozen=True)
class OmniContextBenchmark(Benchmark):
    """Judged by prompt following and subject consistency."""

    scores: ClassVar[tuple[str, ...]] = ("prompt_following", "subject_consistency")
    highest: ClassVar[float] = 10.0

    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        """See `Benchmark`."""
        metric = OmniContext()
        following, consistency = (_scores(records, name) for name in self.scores)
        metric.update(_groups(records), following, consistency, _valid(records), _scores(records, "overall"))
        return [metric]


@dataclass(frozen=True)
class EditBenchmark(Benchmark):
    """Judged by semantic consistency and perceptual quality.

    Attributes:
        bench: Makes the metric.
    """

    bench: Callable[[], EditBench] = EditBench
    scores: ClassVar[tuple[str, ...]] = ("semantic_consistency", "perceptual_quality")
    highest: ClassVar[float] = 10.0

    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        """See `Benchmark`."""
        metric = self.bench()
        languages = [record.language for record in records]
        consistency, quality = (_scores(records, name) for name in self.scores)
        overall = _scores(records, "overall")
        metric.update(_groups(records), languages, consistency, quality, _valid(records), overall)
        return [metric]


@dataclass(frozen=True)
class GenEvalBenchmark(Benchmark):
    """Judged right or wrong, and perhaps by the share of met clauses."""

    scores: ClassVar[tuple[str, ...]] = ("correct",)
    highest: ClassVar[float] = 1.0

    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        """See `Benchmark`."""
        strict = GenEval()
        strict.update(_groups(records), _scores(records, "correct"), _valid(records))
        valid = [record for record in records if record.judgement.valid]
        if not valid or any("graded" not in record.judgement.scores for record in valid):
            return [strict]
        graded = GenEval(graded=True)
        graded.update(_groups(records), _scores(records, "graded"), _valid(records))
        return [strict, graded]


@dataclass(frozen=True)
class ImgEditBenchmark(Benchmark):
    """Judged by the benchmark's own prompts, with one score."""

    scores: ClassVar[tuple[str, ...]] = ("score",)
    lowest: ClassVar[float] = 1.0
    highest: ClassVar[float] = 5.0

    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        """See `Benchmark`."""
        metric = ImgEditBench()
        metric.update(_groups(records), _scores(records, "score"), _valid(records))
        return [metric]


@dataclass(frozen=True)
class EmuEditBenchmark(Benchmark):
    """Judged by the similarity of features."""

    scores: ClassVar[tuple[str, ...]] = ("clip_i", "clip_out", "dino")
    lowest: ClassVar[float] = -1.0
    highest: ClassVar[float] = 1.0

    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        """See `Benchmark`."""
        metric = EmuEdit()
        clip_image, clip_text, dino = (_scores(records, name) for name in self.scores)
        metric.update(_groups(records), clip_image, clip_text, dino, _valid(records))
        return [metric]


@dataclass(frozen=True)
class ChoiceBenchmark(Benchmark):
    """Multiple-choice questions, whose answers are right or wrong and readable or not."""

    scores: ClassVar[tuple[str, ...]] = ("accuracy", "readable")
    highest: ClassVar[float] = 1.0

    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        """See `Benchmark`. The categories are those of the records."""
        metric = ChoiceAccuracy(self.name, sorted({record.group for record in records}))
        columns = torch.stack([_scores(records, name) for name in self.scores], dim=-1)
        metric.add(_groups(records), columns, _valid(records))
        return [metric]


def column_values(benchmark: Benchmark, record: Record) -> dict[str, float]:
    """The columns of the benchmark's first table for one valid record.

    Args:
        benchmark: Which.
        record: With scores.

    Returns:
        By column, geometric means included.
    """
    return dict(benchmark.metrics([record])[0].summary().result.values)


def _groups(records: Sequence[Record]) -> list[str]:
    return [record.group for record in records]


def _scores(records: Sequence[Record], name: str) -> Float[Tensor, " samples"]:
    """NaN where the judgement failed, or has no such score."""
    return torch.tensor([record.judgement.scores.get(name, torch.nan) for record in records], dtype=torch.float64)


def _valid(records: Sequence[Record]) -> Bool[Tensor, " samples"]:
    return torch.tensor([record.judgement.valid for record in records], dtype=torch.bool)
