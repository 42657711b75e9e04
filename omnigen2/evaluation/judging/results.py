"""Judged pictures on disk: a journal that grows line by line, and the result file that can be compared."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from omnigen2.evaluation.judging.judge import BenchmarkItem, JudgeProtocol
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import drop_half_line, read_json_lines, write_text
from omnigen2.rl import Failure, Outcome

FORMAT = 1
"""Version of the result file."""


@dataclass(frozen=True, slots=True)
class Record:
    """What came of one item, as it stands in the file.

    Attributes:
        group: See `BenchmarkItem`, as key and language.
        digest: Of all that the judgement depends on; empty if there was no picture.
        problem: Why there are no scores; None if there are.
    """

    group: str
    language: str
    key: str
    digest: str
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])
    problem: str | None = None

    @classmethod
    def of(cls, item: BenchmarkItem, digest: str, outcome: Outcome, voice: str = "judge") -> "Record":
        """The record of an item, with its `BenchmarkItem.digest` and the judge's `voice`."""
        if isinstance(outcome, Failure):
            return cls(*item.name, digest, problem=str(outcome))
        return cls(*item.name, digest, outcome.parts, {voice: outcome.reason} if outcome.reason else {})

    @property
    def name(self) -> tuple[str, str, str]:
        """Group, language and key: unique within a benchmark."""
        return self.group, self.language, self.key

    @property
    def valid(self) -> bool:
        """Whether there are scores."""
        return self.problem is None

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object, where: str) -> "Record":
        """Read what `to_json` has written.

        Raises:
            EvaluationError: If something is missing, or a score is no finite number.
        """
        match value:
            case {
                "group": str(group),
                "language": str(language),
                "key": str(key),
                "digest": str(digest),
                "scores": dict(scores),
                "reasons": dict(reasons),
                "problem": str() | None as problem,
            }:
                pass
            case _:
                raise EvaluationError(f"{where} is no judgement: {str(value)[:120]}", "was it written by this program?")
        for name, score in scores.items():
            if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
                raise EvaluationError(f"{where}: the score {name} is {score!r}", "expected a finite number")
        if bool(scores) == (problem is not None):
            raise EvaluationError(f"{where} has scores {scores} and the problem {problem!r}", "expected one of the two")
        return cls(group, language, key, digest, cast(dict[str, float], scores), cast(dict[str, str], reasons), problem)


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """All judgements of one folder of pictures: a record for each item, also where the picture is missing."""

    benchmark: str
    name: str
    protocol: JudgeProtocol
    records: tuple[Record, ...]

    def save(self, path: Path, summaries: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write the result file, with the tables for whoever reads it without this program."""
        content = {
            "format": FORMAT,
            "benchmark": self.benchmark,
            "name": self.name,
            "protocol": self.protocol.to_json(),
            "valid": sum(record.valid for record in self.records),
            "total": len(self.records),
            "summaries": list(summaries),
            "records": [record.to_json() for record in self.records],
        }
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "BenchmarkResult":
        """Read a result file.

        Args:
            path: The file, or the folder that it is in.

        Raises:
            EvaluationError: If it is missing, is no result file, or does not say how the pictures were judged.
        """
        path = path / "result.json" if path.is_dir() else path
        if not path.is_file():
            raise EvaluationError(f"there is no result file {path}", "`omnigen2 evaluate BENCH …` writes one")
        content = read_json(path.read_text(encoding="utf-8"), str(path))
        match content:
            case {"format": int(version)} if version != FORMAT:
                raise EvaluationError(f"{path} has format {version}, expected {FORMAT}", "evaluate the pictures again")
            case {"format": int(), "benchmark": str(benchmark), "name": str(name), "records": list(records)}:
                protocol = _protocol(cast(dict[str, Any], content).get("protocol"), path)
            case _:
                raise EvaluationError(f"{path} is no result file", "`omnigen2 evaluate BENCH …` writes one")
        read = [Record.from_json(record, f"{path}, record {n}") for n, record in enumerate(records, start=1)]
        if len({record.name for record in read}) != len(read):
            raise EvaluationError(f"{path} has an item twice", "evaluate the pictures again")
        return cls(benchmark, name, protocol, tuple(read))


class Journal:
    """Judgements by digest, in a file that grows by a line for each: what is in it is never judged again.

    Failed judgements are written too, but are not found again: they are worth another try. The file need not exist; a
    last line that was cut off by a crash is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Record] = {}
        drop_half_line(path)
        for line in read_json_lines(path, EvaluationError) if path.exists() else []:
            record = Record.from_json(line.value, line.where)
            if record.valid:
                self._known[record.digest] = record

    def __len__(self) -> int:
        return len(self._known)

    def get(self, item: BenchmarkItem, digest: str) -> Record | None:
        """The valid record of an item with that digest, if there is one; other items may have the same."""
        known = self._known.get(digest)
        return None if known is None else replace(known, group=item.group, language=item.language, key=item.key)

    def add(self, records: Sequence[Record]) -> None:
        """Append records, and have them on disk when this returns."""
        lines = "".join(json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record in records)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(lines)
        self._known |= {record.digest: record for record in records if record.valid}


def read_json(text: str, where: str) -> object:
    """Parse JSON.

    Args:
        where: What messages call it.

    Raises:
        EvaluationError: If it is no JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise EvaluationError(f"{where} is no JSON: {error}", "is the file whole?") from error


def _protocol(value: object, path: Path) -> JudgeProtocol:
    if value is None:
        raise EvaluationError(
            f"{path} does not say how its pictures were judged", "without the judge's protocol no number means anything"
        )
    names = JudgeProtocol.__dataclass_fields__
    if not isinstance(value, dict) or set(value) != set(names):
        raise EvaluationError(f"{path}: the protocol is {value!r}", f"expected the fields {', '.join(names)}")
    return JudgeProtocol(**cast(dict[str, Any], value))
