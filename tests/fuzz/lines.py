"""Files of JSON lines, damaged in one line or as bytes: refused by file and line, or the very records."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from omnigen2.data import BadRecord, Sample
from omnigen2.data.jsonl import TASK_NAMES, JsonlSource, read_jsonl
from omnigen2.errors import UserError
from omnigen2.files import read_json_lines
from omnigen2.generate import jobs_of_file
from tests.data.cases import picture
from tests.fuzz.attempt import Case
from tests.fuzz.damage import bytes_damaged, json_damaged, workshop

RECORDS: list[dict[str, Any]] = [
    {"task_type": "t2i", "instruction": "a cube", "output_image": "a.png"},
    {"task_type": "edit", "instruction": "make it blue", "input_images": ["a.png"], "output_image": "b.png"},
    {"task_type": "in_context", "instruction": "both, ß", "input_images": ["a.png", "b.png"], "output_image": "a.png"},
    {"task_type": "vqa", "instruction": "what is it?", "input_images": ["b.png"], "answer": "a cube\u2028or so"},
    {"task_type": "t2i", "instruction": "a ring", "output_image": "b.png", "meta": "{\"a\": 1}"},
]  # fmt: skip
JOBS: list[dict[str, Any]] = [
    {"prompt": "a cube", "seed": 3, "height": 64, "width": 64, "out": "a.png"},
    {"prompt": "make it blue", "images": ["a.png"], "image_scale": 1.5, "steps": 4},
    {"prompt": "a ring\u0085", "negative_prompt": "", "text_scale": 3, "guidance_interval": [0.0, 1.0]},
]  # fmt: skip


@cache
def folder() -> Path:
    made = workshop() / "lines"
    made.mkdir()
    (made / "a.png").write_bytes(picture())
    (made / "b.png").write_bytes(picture(9, 24))
    return made


def cases(seed: int) -> Iterator[Case]:
    rng, numbers = Random(f"lines {seed}"), count()
    while True:
        path = folder() / f"{seed}_{next(numbers)}.jsonl"
        rows, reads = rng.choice(READERS)
        how, content = rng.choice((one_line, one_line, as_bytes, as_list))(rows, rng)
        yield f"{reads.__name__}, {how}", attempt(path, content, reads)


def one_line(rows: list[dict[str, Any]], rng: Random) -> tuple[str, bytes]:
    lines = [json.dumps(row, ensure_ascii=rng.random() < 0.5) for row in rows]
    number = rng.randrange(len(lines))
    how, lines[number] = json_damaged(rows[number], rng)
    end, mark = rng.choice(("\n", "\r\n", "\n\n")), rng.choice(("", "\ufeff"))
    text = mark + end.join(lines) + rng.choice(("", end))
    return f"line {number + 1}: {how}", text.encode("utf-8", "surrogatepass")


def as_bytes(rows: list[dict[str, Any]], rng: Random) -> tuple[str, bytes]:
    return bytes_damaged("\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode(), rng)


def as_list(rows: list[dict[str, Any]], rng: Random) -> tuple[str, bytes]:
    how, text = json_damaged(rows, rng)
    return f"a list, {how}", text.encode("utf-8", "surrogatepass")


def attempt(path: Path, content: bytes, reads: Callable[[Path], None]) -> Callable[[], None]:
    def call() -> None:
        path.write_bytes(content)
        try:
            reads(path)
        except UserError as error:
            assert path.name in str(error), f"refused without the file's name: {error}"  # noqa: PT017
        finally:
            path.unlink()

    return call


def said_by(path: Path) -> dict[int, dict[str, Any]]:
    """What Python reads in each line, counted from 1."""
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return {number: json.loads(line) for number, line in enumerate(lines, 1) if line.strip() and _is_object(line)}


def read_records(path: Path) -> None:
    for number, found in read_jsonl(path):
        if isinstance(found, Sample):
            is_the_record(found, said_by(path)[number])
        else:
            assert isinstance(found, BadRecord)
            assert str(number) in str(found)
            assert path.name in str(found)


def read_source(path: Path) -> None:
    source = JsonlSource(path)
    said = [line for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    assert len(source) == len(said), f"{len(source)} records of {len(said)} lines"
    for number in range(len(source)):
        is_the_record(source[number], json.loads(said[number].removeprefix(b"\xef\xbb\xbf")))


def is_the_record(found: Sample, said: dict[str, Any]) -> None:
    assert found.instruction == said["instruction"]
    assert found.task == TASK_NAMES.get(said["task_type"].lower(), "edit" if found.references else "text_to_image")
    assert [Path(str(one)).name for one in found.references] == [
        Path(one).name for one in said.get("input_images") or []
    ]
    assert found.answer == said.get("answer")
    assert (found.target is None) == (said.get("output_image") is None)


def read_jobs(path: Path) -> None:
    jobs = jobs_of_file(path, path.parent / "out", {"seed": 5})
    said = list(said_by(path).values())
    assert [job.request.prompt for job in jobs] == [one["prompt"] for one in said]
    for job, one in zip(jobs, said, strict=True):
        assert job.out.parent == path.parent / "out", f"writes {job.out}"
        for name in ("height", "width", "seed"):
            assert one.get(name) is None or getattr(job.request, name) == one[name], f"{name}: {one[name]}"


def read_lines(path: Path) -> None:
    assert [line.value for line in read_json_lines(path)] == list(said_by(path).values())


READERS = ((RECORDS, read_records), (RECORDS, read_source), (JOBS, read_jobs), (JOBS, read_lines))


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
