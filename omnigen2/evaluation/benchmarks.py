"""The benchmarks by name: where their items are, what a judge must say, and how that is averaged."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from typing_extensions import override

from omnigen2.evaluation.judging import INTERSECTION, BenchmarkItem, Choice, ChoiceAccuracy, EmuEdit, Record, read_mmmu
from omnigen2.evaluation.metrics import (
    EditBench,
    EvaluationError,
    GenEval,
    GroupedMean,
    ImgEditBench,
    OmniContext,
    PaperTable,
    Summary,
)
from omnigen2.rl import Failure, Outcome

Reader: TypeAlias = Callable[[Path, Path | None], list[BenchmarkItem]]
"""From the folder of pictures and the folder of the data set to the items."""


@dataclass(frozen=True)
class Benchmark(ABC):
    """A benchmark that `omnigen2 evaluate` knows.

    Attributes:
        papers: Published rows to show beside ours; the plot has those of the first.
        folder: Where in the folder of pictures they lie; whoever draws them makes it first. Empty if in that itself.
        rules: Whether the rules of the micro-world can judge it.
    """

    name: str
    items: Reader
    papers: tuple[PaperTable, ...] = ()
    folder: str = ""
    rules: bool = False
    scores: ClassVar[tuple[str, ...]]
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float]
    perfect: ClassVar[bool] = True
    """Whether a picture with the highest overall score is right."""

    @abstractmethod
    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        """The metrics, with all records counted; the first is the benchmark's own."""

    def summaries(self, records: Sequence[Record]) -> list[Summary]:
        """The tables."""
        return [metric.summary() for metric in self.metrics(records)]

    def check(self, items: Sequence[BenchmarkItem]) -> None:
        """Find out before anything is drawn or judged whether all items are of groups that the benchmark has.

        Raises:
            EvaluationError: If one is not; it is named with its file and row.
        """
        for item in {(item.group, item.language): item for item in reversed(items)}.values():
            try:
                self.metrics([Record.of(item, "", Failure("not judged"))])
            except ValueError as error:
                raise EvaluationError(f"{item.where or item.key}: {error}", "is this the benchmark's data?") from error

    def checked(self, outcome: Outcome) -> Outcome:
        """Refuse a judgement that the benchmark cannot use: a score is missing or out of range."""
        if isinstance(outcome, Failure):
            return outcome
        missing = [name for name in self.scores if name not in outcome.parts]
        if missing:
            return Failure(f"the judge gave no {missing[0]}")
        for name in {*self.scores, *(outcome.parts.keys() & {"overall", "graded"})}:
            if not self.lowest <= outcome.parts[name] <= self.highest:
                expected = f"expected {self.lowest:g} to {self.highest:g}"
                return Failure(f"{name} is {outcome.parts[name]:g}, {expected}")
        return outcome


@dataclass(frozen=True)
class OmniContextBenchmark(Benchmark):
    """Judged by prompt following and subject consistency."""

    scores: ClassVar[tuple[str, ...]] = ("prompt_following", "subject_consistency")
    highest: ClassVar[float] = 10.0

    @override
    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        metric = OmniContext()
        following, consistency = (_scores(records, name) for name in self.scores)
        metric.update(_groups(records), following, consistency, _valid(records), _scores(records, "overall"))
        return [metric]


@dataclass(frozen=True)
class EditBenchmark(Benchmark):
    """Judged by semantic consistency and perceptual quality; the intersection subset, if marked, in a second table."""

    bench: Callable[[], EditBench] = EditBench
    scores: ClassVar[tuple[str, ...]] = ("semantic_consistency", "perceptual_quality")
    highest: ClassVar[float] = 10.0

    @override
    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        metrics: list[GroupedMean] = [self._metric(records)]
        if subset := [record for record in records if INTERSECTION in record.subsets]:
            metrics.append(self._metric(subset))
            metrics[1].title = f"{metrics[0].title}, intersection subset"
            metrics[0].title = f"{metrics[0].title}, full set"
        return metrics

    def _metric(self, records: Sequence[Record]) -> EditBench:
        metric = self.bench()
        languages = [record.language for record in records]
        consistency, quality = (_scores(records, name) for name in self.scores)
        overall = _scores(records, "overall")
        metric.update(_groups(records), languages, consistency, quality, _valid(records), overall)
        return metric


@dataclass(frozen=True)
class GenEvalBenchmark(Benchmark):
    """Judged right or wrong, and perhaps by the share of met clauses."""

    scores: ClassVar[tuple[str, ...]] = ("correct",)
    highest: ClassVar[float] = 1.0

    @override
    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        strict = GenEval()
        strict.update(_groups(records), _scores(records, "correct"), _valid(records))
        valid = [record for record in records if record.valid]
        if not valid or any("graded" not in record.scores for record in valid):
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

    @override
    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        metric = ImgEditBench()
        metric.update(_groups(records), _scores(records, "score"), _valid(records))
        return [metric]


@dataclass(frozen=True)
class EmuEditBenchmark(Benchmark):
    """Judged by the similarity of features."""

    scores: ClassVar[tuple[str, ...]] = ("clip_i", "clip_out", "dino")
    lowest: ClassVar[float] = -1.0
    highest: ClassVar[float] = 1.0
    perfect: ClassVar[bool] = False

    @override
    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        metric = EmuEdit()
        clip_image, clip_text, dino = (_scores(records, name) for name in self.scores)
        metric.update(_groups(records), clip_image, clip_text, dino, _valid(records))
        return [metric]


@dataclass(frozen=True)
class ChoiceBenchmark(Benchmark):
    """Multiple-choice questions, right or wrong and readable or not; `questions` reads them from the data set."""

    questions: Callable[[Path], list[Choice]] = read_mmmu
    scores: ClassVar[tuple[str, ...]] = ("accuracy", "readable")
    highest: ClassVar[float] = 1.0

    @override
    def metrics(self, records: Sequence[Record]) -> list[GroupedMean]:
        metric = ChoiceAccuracy(self.name, sorted({record.group for record in records}))
        columns = torch.stack([_scores(records, name) for name in self.scores], dim=-1)
        metric.add(_groups(records), columns, _valid(records))
        return [metric]


def column_values(benchmark: Benchmark, record: Record) -> dict[str, float]:
    """The columns of the benchmark's first table for one valid record, geometric means included."""
    return dict(benchmark.metrics([record])[0].summary().result.values)


def _groups(records: Sequence[Record]) -> list[str]:
    return [record.group for record in records]


def _scores(records: Sequence[Record], name: str) -> Float[Tensor, " samples"]:
    """NaN where the judgement failed, or has no such score."""
    return torch.tensor([record.scores.get(name, torch.nan) for record in records], dtype=torch.float64)


def _valid(records: Sequence[Record]) -> Bool[Tensor, " samples"]:
    return torch.tensor([record.valid for record in records], dtype=torch.bool)
