"""Broken results, journals, verdicts, answers, tables and data sets: refused, or what they say is what they said.

A case writes a sound file, breaks it, and reads it as `omnigen2 evaluate` does. What is read after all must be what the
sound one says, but for what was changed: no score out of range, no key twice, no path outside of its folder.
"""

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image

from omnigen2.commands.benchmarks import BENCHMARKS
from omnigen2.evaluation import Benchmark, compare, evaluate
from omnigen2.evaluation.judging import (
    BenchmarkItem,
    BenchmarkJudge,
    BenchmarkResult,
    DetectorResults,
    ImgEditAnswers,
    Journal,
    JudgeProtocol,
    Record,
    read_answers,
    read_mmbench,
    read_mmmu,
)
from omnigen2.rl import Judgement, Outcome
from tests.fuzz.attempt import Case

OMNI = BENCHMARKS["omnicontext"]
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 1.5, float("nan"), float("inf"), 10**400, "", "x", "../x", "/x", "a/b", "\ud800", "\0",
    "x" * 5000, [], {}, [None], [[]], {"a": 1}, [1, "2"],
)  # fmt: skip
PROTOCOL = JudgeProtocol("test", "fixed", "1", settings={"max_tokens": 8, "answer_format": "text"})
RECORDS = tuple(
    Record(
        "single_object", "en", f"k{n}", f"d{n}", {"prompt_following": 3.0, "subject_consistency": 4.0}, {"judge": "r"}
    )
    for n in range(3)
)
ROWS: dict[str, dict[str, Any]] = {
    "omnicontext": {"key": "k", "task_type": "single_object", "instruction": "x", "input_images": ["in.png"]},
    "gedit": {
        "key": "k", "task_type": "ps_human", "instruction": "x", "instruction_language": "en", "input_image": "in.png",
        "Intersection_exist": True,
    },
    "emu-edit": {"idx": 0, "task": "add", "instruction": "x", "output_caption": "y", "image": "in.png"},
}  # fmt: skip


def cases(seed: int) -> Iterator[Case]:
    """Without an end; the same seed gives the same.

    Yields:
        A name and what to call: it ends normally or raises a `UserError` or an `OSError`; anything else is a find.
    """
    rng = random.Random(seed)
    kinds = (_result, _journal, _rows, _imgedit, _verdicts, _answers, _mmbench, _mmmu, _tasks)
    for number in count():
        kind = kinds[number % len(kinds)]
        yield kind.__name__[1:], partial(_in_folder, kind, rng.randrange(2**31))


def _in_folder(kind: Callable[[random.Random, Path], None], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kind(random.Random(seed), Path(folder))


def broken(rng: random.Random, content: Any) -> bytes:
    """A JSON value, changed somewhere: a value of another type, a key gone, bytes cut, doubled or thrown over."""
    if rng.random() < 0.7:
        content = json.loads(json.dumps(content))
        _change(rng, content)
        return json.dumps(content).encode()
    return broken_bytes(rng, json.dumps(content, indent=rng.choice((None, 1))).encode())


def broken_bytes(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    match rng.randrange(5):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + rng.choice((b"\xff", b"\0", b"{", b"[", b'"', b",", b"\n", b"\xef\xbb\xbf")) + data[at:]
        case 2:
            return data + data
        case 3:
            return rng.choice((b"", b"[" * 20_000, b"null", b"[]", b"1" * 5000, b'{"a":' * 20_000))
        case _:
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def _change(rng: random.Random, content: Any) -> None:
    inner = content
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(inner[key], dict | list) and inner[key] and rng.random() < 0.75:
            inner = inner[key]
            continue
        if rng.random() < 0.25:
            del inner[key]
        else:
            inner[key] = rng.choice(ODD)
        return


def _result(rng: random.Random, folder: Path) -> None:
    path = folder / "result.json"
    sound = BenchmarkResult("omnicontext", "x", PROTOCOL, RECORDS)
    sound.save(path)
    path.write_bytes(broken(rng, json.loads(path.read_text())))
    found = BenchmarkResult.load(path)
    assert len({record.name for record in found.records}) == len(found.records)
    for difference in compare(found, found, OMNI, 100).differences:
        assert 0 <= difference.first <= 10
        assert difference.first == difference.second


class _Fixed(BenchmarkJudge):
    protocol = PROTOCOL  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def judge(self, items: Any) -> list[Outcome]:
        return [Judgement(0.0, {"prompt_following": 3.0, "subject_consistency": 4.0}, "r") for _ in items]


def _journal(rng: random.Random, folder: Path) -> None:
    items = [BenchmarkItem(f"k{n}", "single_object", f"draw {n}", (), folder / f"{n}.png") for n in range(3)]
    for item in items:
        Image.new("RGB", (2, 2)).save(item.output)
    evaluate(OMNI, items, _Fixed(), folder / "out", "x")
    path = folder / "out" / "judgements.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    at = rng.randrange(3)
    lines[at] = broken(rng, json.loads(lines[at])) + b"\n"
    path.write_bytes(b"".join(lines))
    Journal(path)
    again = evaluate(OMNI, items, _Fixed(), folder / "out", "x")
    assert all(0 <= score <= 10 for record in again.records for score in record.scores.values())


def _rows(rng: random.Random, folder: Path) -> None:
    name = rng.choice(list(ROWS))
    benchmark: Benchmark = BENCHMARKS[name]
    row = ROWS[name]
    keyed = [row | {"key": f"k{n}", "idx": n} for n in range(3)]
    lines = [json.dumps(one).encode() for one in keyed]
    at = rng.randrange(3)
    lines[at] = rng.choice((broken(rng, keyed[at]), lines[0]))
    images = folder / "results" / "m"
    (images / "fullset").mkdir(parents=True)
    data = folder / "data"
    data.mkdir()
    Image.new("RGB", (2, 2)).save(data / "in.png")
    (data / "rows.jsonl").write_bytes(b"\n".join(lines))
    _check_items(benchmark, benchmark.items(images, data), images)


def _check_items(benchmark: Benchmark, items: list[BenchmarkItem], images: Path) -> None:
    benchmark.check(items)
    outputs = [item.output.resolve() for item in items]
    assert len(set(outputs)) == len(outputs)
    assert all(output.is_relative_to(images.resolve()) for output in outputs)
    assert all(isinstance(file, bytes) or ".." not in file.parts for item in items for file in item.inputs)
    for item in items:
        f"{item.instruction}{item.key}".encode()


def _imgedit(rng: random.Random, folder: Path) -> None:
    rows = {str(n): {"id": "in.png", "prompt": "x", "edit_type": "add"} for n in range(3)}
    Image.new("RGB", (2, 2)).save(folder / "in.png")
    (folder / "basic_edit.json").write_bytes(broken(rng, rows))
    _check_items(BENCHMARKS["imgedit"], BENCHMARKS["imgedit"].items(folder / "m", folder), folder / "m")


def _verdicts(rng: random.Random, folder: Path) -> None:
    path = folder / "verdicts.json"
    if rng.random() < 0.5:
        path.write_bytes(broken(rng, {"1": "a: 1\nb: 2\nc: 3", "2": "a: 9\nb: 2\nc: 3"}))
        judge: BenchmarkJudge = ImgEditAnswers(path, "m")
    else:
        lines = [{"filename": f"{n:05d}/samples/0000.png", "correct": n == 1, "reason": "r"} for n in range(3)]
        written = [json.dumps(line).encode() for line in lines]
        at = rng.randrange(3)
        written[at] = broken(rng, lines[at])
        path.write_bytes(b"\n".join(written))
        judge = DetectorResults(path, "m")
    for outcome in judge.judge([BenchmarkItem(key, "add", "x", (), path) for key in ("1", "00001/samples/0000.png")]):
        assert not isinstance(outcome, Judgement) or outcome.value in (0.0, 1.0, 2.0)


def _answers(rng: random.Random, folder: Path) -> None:
    if rng.random() < 0.5:
        path = folder / "a.json"
        path.write_bytes(broken(rng, {"1": "A", "2": "B"}))
    else:
        path = folder / "a.jsonl"
        lines = [json.dumps({"key": n, "answer": "A"}).encode() for n in range(3)]
        lines[1] = broken(rng, {"key": 1, "answer": "A"})
        path.write_bytes(b"\n".join([*lines, rng.choice(lines)]))
    for key, answer in read_answers(path).items():
        assert isinstance(key, str)
        answer.encode()


def _mmbench(rng: random.Random, folder: Path) -> None:
    path = folder / "a.tsv"
    head = "index\tquestion\tA\tB\tanswer\tcategory\timage\n"
    rows = [f"{n}\twhat?\tx\ty\tA\tart\tAAAA\n" for n in range(3)]
    data = "".join((head, *rows, rng.choice((*rows, "", "1000001\twhat?\ty\tx\tB\tart\t1\n")))).encode()
    path.write_bytes(broken_bytes(rng, data))
    choices = read_mmbench(path)
    assert len({choice.key for choice in choices}) == len(choices)
    assert all(choice.category and choice.answer in choice.options for choice in choices)


def _mmmu(rng: random.Random, folder: Path) -> None:
    row = {
        "id": "test_Art_1",
        "question": "?",
        "options": "['x', 'y']",
        "answer": "B",
        "question_type": "multiple-choice",
    }
    odd = rng.choice(
        ({}, {"options": "(" * 500}, {"options": ["x"] * 30}, {"options": "[1, 2]"}, {"image_1": "../x.png"})
    )
    lines = [json.dumps(row).encode(), broken(rng, row | {"id": "test_Art_2", **odd})]
    (folder / "rows.jsonl").write_bytes(b"\n".join(lines))
    choices = read_mmmu(folder)
    assert len({choice.key for choice in choices}) == len(choices)
    assert all(choice.answer in choice.options for choice in choices)


def _tasks(rng: random.Random, folder: Path) -> None:
    import numpy as np

    from omnigen2.microworld import full_vocabulary, sample_caption
    from omnigen2.microworld.tasks import to_json

    task = json.loads(to_json(sample_caption(full_vocabulary(32), np.random.default_rng(rng.randrange(9)))))
    inner = broken(rng, task).decode("utf-8", "surrogateescape")
    line = {"key": "00000", "task": inner}
    (folder / "tasks.jsonl").write_bytes(rng.choice((json.dumps(line).encode(), broken(rng, line))))
    benchmark = BENCHMARKS["micro-geneval"]
    _check_items(benchmark, benchmark.items(folder, None), folder)
