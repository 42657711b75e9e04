"""Judged pictures on disk: a journal that grows line by line, and the result file that can be compared."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from omnigen2.evaluation.judging.judge import BenchmarkItem, JudgeProtocol
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import Fields, Keys, drop_half_line, read_json_lines, read_object, write_text
from omnigen2.rl import Failure, Outcome

FORMAT = 1
"""Version of the result file."""
WRITER = "`omnigen2 evaluate BENCH …` writes one"
"""What to do without a result file."""


@dataclass(frozen=True, slots=True)
class Record:
    """What came of one item, as it stands in the file.

    Attributes:
        group: See `BenchmarkItem`, as key and language.
        digest: Of all that the judgement depends on; empty if there was no picture.
        problem: Why there are no scores; None if there are.
        subsets: See `BenchmarkItem`.
    """

    group: str
    language: str
    key: str
    digest: str
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])
    problem: str | None = None
    subsets: tuple[str, ...] = ()

    @classmethod
    def of(cls, item: BenchmarkItem, digest: str, outcome: Outcome, voice: str = "judge") -> "Record":
        """The record of an item, with its `BenchmarkItem.digest` and the judge's `voice`."""
        if isinstance(outcome, Failure):
            return cls(*item.name, digest, problem=str(outcome), subsets=item.subsets)
        reasons = {voice: outcome.reason} if outcome.reason else {}
        return cls(*item.name, digest, outcome.parts, reasons, subsets=item.subsets)

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
    def read(cls, fields: Fields) -> "Record":
        """Read what `to_json` has written.

        Raises:
            EvaluationError: If something is missing, or a score is no finite number.
        """
        scores, reasons = fields.object("scores"), fields.object("reasons")
        problem = fields.text("problem") if fields.has("problem") else None
        if bool(scores.values) == (problem is not None):
            expected = "scores, or a problem and no scores"
            raise EvaluationError(f"{fields.where} has {len(scores.values)} scores and problem {problem!r}", expected)
        return cls(
            fields.text("group"),
            fields.text("language"),
            fields.text("key"),
            fields.text("digest"),
            {name: scores.number(name) for name in scores.values},
            {name: reasons.text(name) for name in reasons.values},
            problem,
            fields.texts("subsets") if fields.has("subsets") else (),
        )


@dataclass(frozen=True, slots=True)
class Drawn:
    """A way of drawing, as the pictures' files tell it (empty if they do not), and how many pictures it made."""

    settings: Mapping[str, Any]
    pictures: int


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """All judgements of one folder of pictures: a record for each item, also where the picture is missing.

    Attributes:
        drawn: How the pictures were drawn; empty if nobody has looked.
    """

    benchmark: str
    name: str
    protocol: JudgeProtocol
    records: tuple[Record, ...]
    drawn: tuple[Drawn, ...] = ()

    def save(self, path: Path, summaries: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write the result file, with the tables for whoever reads it without this program."""
        content = {
            "format": FORMAT,
            "benchmark": self.benchmark,
            "name": self.name,
            "protocol": self.protocol.to_json(),
            "drawn": [asdict(way) for way in self.drawn],
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
            raise EvaluationError(f"there is no result file {path}", WRITER)
        content = read_object(path, EvaluationError, WRITER)
        if (version := content.whole("format")) != FORMAT:
            raise EvaluationError(f"{path} has format {version}, expected {FORMAT}", "evaluate the pictures again")
        benchmark, name, protocol = content.text("benchmark"), content.text("name"), _protocol(content)
        names: Keys[Record] = Keys("item", EvaluationError, "evaluate the pictures again")
        for number, fields in enumerate(content.objects("records"), start=1):
            record = Record.read(replace(fields, where=f"{path}, record {number}"))
            names.add("/".join(record.name), record, f"{path}, record {number}")
        ways = content.objects("drawn") if content.has("drawn") else ()
        drawn = tuple(Drawn(way.object("settings").values, way.whole("pictures", low=1)) for way in ways)
        return cls(benchmark, name, protocol, tuple(names.values.values()), drawn)


class Journal:
    """Judgements by digest, in a file that grows by a line for each: what is in it is never judged again.

    Failed judgements are written too, but are not found again: they are worth another try. The file need not exist; a
    last line that was cut off by a crash is dropped. Two judgements of one item that differ are refused, since nobody
    could say which counts; the same one twice is one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._by_item: dict[tuple[str, ...], Record] = {}
        self._by_digest: dict[str, Record] = {}
        said: Keys[Mapping[str, float]] = Keys("judgement of", EvaluationError, "remove one of the two lines")
        drop_half_line(path)
        for line in read_json_lines(path, EvaluationError) if path.exists() else []:
            record = Record.read(Fields(line.value, line.where, EvaluationError, "remove the line"))
            if record.valid:
                said.add("/".join((*record.name, record.digest)), record.scores, line.where, repeats=True)
                self._note(record)

    def __len__(self) -> int:
        return len(self._by_digest)

    def get(self, item: BenchmarkItem, digest: str) -> Record | None:
        """The valid record of an item with that digest, else of another item with the same one, if there is one."""
        known = self._by_item.get((*item.name, digest)) or self._by_digest.get(digest)
        if known is None:
            return None
        return replace(known, group=item.group, language=item.language, key=item.key, subsets=item.subsets)

    def add(self, records: Sequence[Record]) -> None:
        """Append records, and have them on disk when this returns."""
        lines = "".join(json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record in records)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(lines)
        for record in records:
            if record.valid:
                self._note(record)

    def _note(self, record: Record) -> None:
        self._by_item[*record.name, record.digest] = record
        self._by_digest.setdefault(record.digest, record)


def _protocol(content: Fields) -> JudgeProtocol:
    if not content.has("protocol"):
        raise EvaluationError(
            f"{content.where} does not say how its pictures were judged",
            "without the judge's protocol no number means anything",
        )
    fields = content.object("protocol")
    names = tuple(JudgeProtocol.__dataclass_fields__)
    if set(fields.values) != set(names):
        had = ", ".join(fields.values)
        raise EvaluationError(f"{fields.where} has {had}, expected the fields {', '.join(names)}", WRITER)
    settings = fields.object("settings")
    for name, value in settings.values.items():
        _ = settings.text(name) if isinstance(value, str) else settings.number(name)
    return JudgeProtocol(
        fields.text("judge"),
        fields.text("model"),
        fields.text("prompt_version"),
        fields.number("temperature") if fields.has("temperature") else None,
        fields.whole("passes", low=1),
        fields.whole("image_size", low=1) if fields.has("image_size") else None,
        fields.whole("seed") if fields.has("seed") else None,
        settings.values,
    )
