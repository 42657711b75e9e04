"""Judging a folder of pictures: what was judged before is not judged again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omnigen2.evaluation.benchmarks import Benchmark
from omnigen2.evaluation.judging import BenchmarkItem, BenchmarkJudge, BenchmarkResult, Journal, Record
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.rl import Failure, Judgement

NO_PICTURE = "no picture"
"""The problem of items whose output file is missing."""


@dataclass(frozen=True, slots=True)
class EvaluationProgress:
    """How far an evaluation is: items that are done, how many were judged before, and how many of them failed."""

    done: int
    total: int
    reused: int
    failed: int


def evaluate(
    benchmark: Benchmark,
    items: Sequence[BenchmarkItem],
    judge: BenchmarkJudge,
    folder: Path,
    name: str,
    batch_size: int = 8,
    show: Callable[[EvaluationProgress], None] = lambda progress: None,
) -> BenchmarkResult:
    """Judge all items, and keep each judgement as soon as it is there.

    Args:
        folder: Where `judgements.jsonl` grows; made if it is not there.
        name: Of whoever made the pictures.
        batch_size: Pictures that are given to the judge at once; an interruption loses no more.
        show: Called after each batch.

    Returns:
        One record for each item, in order. Valid judgements of an earlier run are used again if instruction, pictures
        and protocol are the same; failed ones are tried again.

    Raises:
        EvaluationError: If an item is of a group that the benchmark has not, or a judgement of an earlier run is none
            of the benchmark's.
    """
    benchmark.check(items)
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder / "judgements.jsonl")
    records: dict[int, Record] = {}
    waiting: list[tuple[int, str]] = []
    for index, item in enumerate(items):
        if not item.output.is_file():
            records[index] = Record.of(item, "", Failure(NO_PICTURE))
            continue
        digest = item.digest(benchmark.name, judge.protocol)
        known = journal.get(item, digest)
        if known is None:
            waiting.append((index, digest))
            continue
        if isinstance(wrong := benchmark.checked(Judgement(0.0, known.scores)), Failure):
            raise EvaluationError(f"{journal.path}: the judgement of {'/'.join(item.name)}: {wrong}", "remove its line")
        records[index] = known
    reused = sum(record.valid for record in records.values())
    show(_progress(records, len(items), reused))
    for start in range(0, len(waiting), batch_size):
        batch = waiting[start : start + batch_size]
        found = judge.judge([items[index] for index, _ in batch])
        new = [
            Record.of(items[index], digest, benchmark.checked(outcome), judge.voice)
            for (index, digest), outcome in zip(batch, found, strict=True)
        ]
        journal.add(new)
        records |= {index: record for (index, _), record in zip(batch, new, strict=True)}
        show(_progress(records, len(items), reused))
    return BenchmarkResult(benchmark.name, name, judge.protocol, tuple(records[index] for index in range(len(items))))


def _progress(records: dict[int, Record], total: int, reused: int) -> EvaluationProgress:
    failed = sum(not record.valid for record in records.values())
    return EvaluationProgress(len(records), total, reused, failed)
