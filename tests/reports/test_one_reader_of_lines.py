"""A file of JSON lines was read by one command and refused by another: for a pasted U+2028, a byte order mark.

Whatever reads lines reads them alike: the same records of the same files, and the same words on what is wrong.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnigen2.data import Sample, read_jsonl
from omnigen2.errors import UserError
from omnigen2.evaluation.judging.answers import read_answers
from omnigen2.evaluation.judging.tables import rows
from omnigen2.evaluation.judging.verdicts import DetectorResults
from omnigen2.generate.jobs import jobs_of_file
from omnigen2.training.alignment.prompt_lines import read_prompts
from tests.paths import ROOT

TEXTS = ("a poster:\u2028Be kind", "next\u0085line\x0b\x0c\x1c\u2029", "über 漢字", "plain")


def training_texts(path: Path) -> list[str]:
    found = [read for _, read in read_jsonl(path)]
    for one in found:
        if not isinstance(one, Sample):
            raise one.error("bad_records")
    return [one.instruction for one in found if isinstance(one, Sample)]


def prompted(text: str, number: int) -> dict[str, Any]:
    return {"prompt": text, "seed": number}


def asked(text: str, number: int) -> dict[str, Any]:
    return {"task_type": "understanding", "instruction": text, "answer": str(number)}


def to_draw(text: str, number: int) -> dict[str, Any]:
    return {"task_type": "t2i", "instruction": text, "meta": str(number)}


def judged(text: str, number: int) -> dict[str, Any]:
    return {"filename": f"{number}/samples/0000.png", "correct": True, "reason": text}


def answered(text: str, number: int) -> dict[str, Any]:
    return {"key": str(number), "answer": text}


Reader = tuple[Callable[[str, int], dict[str, Any]], Callable[[Path], list[str]]]
READERS: dict[str, Reader] = {
    "generate --from_file": (
        prompted,
        lambda path: [job.request.prompt for job in jobs_of_file(path, path.parent, {})],
    ),
    "evaluate --data": (prompted, lambda path: [row.text("prompt") for row in rows(path.parent)]),
    "evaluate --answers": (answered, lambda path: list(read_answers(path).values())),
    "evaluate --results": (judged, lambda path: list(DetectorResults(path, "m").reasons.values())),
    "rl prompts": (to_draw, lambda path: [one.instruction for one in read_prompts([str(path)], None)]),
    "training data": (asked, training_texts),
}


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Reader:
    return READERS[request.param]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("blank", ["", "\n", " \t\r\n\n"])
@pytest.mark.parametrize("last", [True, False])
def test_the_same_lines_for_all(reader: Reader, tmp_path: Path, mark: str, end: str, blank: str, last: bool) -> None:
    written, read = reader
    lines = [json.dumps(written(text, number), ensure_ascii=False) for number, text in enumerate(TEXTS)]
    whole = mark + (end + blank).join(lines) + (end if last else "")
    (tmp_path / "x.jsonl").write_bytes(whole.encode())
    assert read(tmp_path / "x.jsonl") == list(TEXTS)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"prompt": "a', "is no JSON"),
        (b'{"prompt": "a\0b"}', "is no JSON .Invalid control character"),
        (b"\0\0\0\0", "is no JSON"),
        (b'{"prompt": "\xff"}', "is no UTF-8"),
        ('{"prompt": 1}'.encode("utf-16"), "is no UTF-8"),
        (b"[]", "is a JSON list, expected an object"),
        (b"null", "is null, expected an object"),
        (b'{"a": 1, "a": 1}', "has a twice"),
        (b'{"a": {"b": 1, "b": 1}}', "has b twice"),
        (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "is nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "has a number of more than 4300 digits"),
        (b"{} {}", "is no JSON .Extra data"),
    ],
)
def test_the_same_words_for_all_with_file_and_line(reader: Reader, tmp_path: Path, line: bytes, problem: str) -> None:
    written, read = reader
    good = json.dumps(written("good", 1)).encode()
    (tmp_path / "x.jsonl").write_bytes(good + b"\n\n" + line + b"\n")
    with pytest.raises(UserError, match=rf"x\.jsonl, line 3:? {problem}"):
        read(tmp_path / "x.jsonl")


def test_nobody_else_takes_json_apart() -> None:
    """Others read one JSON text of a known kind: a reply, a header, a field; or may not import the room of files."""
    readers = re.compile(r"json\.loads?\(|read_text\([^)]*\)\.(splitlines|split)\(|readlines\(")
    found = {
        path.relative_to(ROOT / "omnigen2").as_posix()
        for path in (ROOT / "omnigen2").rglob("*.py")
        if readers.search(path.read_text(encoding="utf-8"))
    }
    assert not {path for path in found if path.startswith(("evaluation/judging", "commands"))}
    rows_of_ours_and_a_reply = {
        "curation/on_ray.py", "curation/recipe.py", "curation/reflection/folder.py", "curation/steps/chat.py",
    }  # fmt: skip
    assert {path for path in found if path.startswith("curation")} == rows_of_ours_and_a_reply
    heads_and_messages = {"data/batches/ranks.py", "data/chunks/record.py", "data/chunks/sizes.py"}
    quickly_where_another_look_says_what_is_wrong = {"data/chunks/index.py"}
    assert {path for path in found if path.startswith("data")} == (
        heads_and_messages | quickly_where_another_look_says_what_is_wrong
    )
    assert {path for path in found if path.startswith("files")} == {"files/json_text.py"}
