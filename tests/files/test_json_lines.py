"""JSON lines: whatever text is in them, they are read as they were written; what is wrong is named."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnigen2.errors import UserError
from omnigen2.files import BadLine, JsonLine, drop_half_line, each_json_line, read_json_lines
from tests.paths import ROOT

TEXTS = st.text() | st.text('a\n\r\t\v\f\x1c\x1e\x85\u2028\u2029\ufeff "\\é🙂')
OBJECTS = st.dictionaries(TEXTS, TEXTS | st.none() | st.booleans() | st.integers() | st.lists(TEXTS), max_size=4)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\r\n \t\r\n"])
FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class OurError(UserError):
    """Of a room."""


def utf8(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


@FOLDER
@given(
    lines=st.lists(st.tuples(OBJECTS, ENDS, st.booleans(), st.booleans())), marked=st.booleans(), ended=st.booleans()
)
def test_any_text_comes_back(tmp_path: Path, lines, marked, ended) -> None:
    """Whatever the line ends, escapes and marks: separators that are no line ends are text."""
    content, expected = b"\xef\xbb\xbf" if marked else b"", []
    for number, (value, end, escaped, spaced) in enumerate(lines, start=1):
        written = json.dumps(value)
        if not escaped and utf8(whole := json.dumps(value, ensure_ascii=False)):
            written = whole
        written = f" {written} " if spaced else written
        expected.append((content.count(b"\n") + 1, value, written))
        content += written.encode() + (end if ended or number < len(lines) else b"")
    (tmp_path / "x.jsonl").write_bytes(content)
    read = read_json_lines(tmp_path / "x.jsonl")
    assert [(line.number, line.value, line.text) for line in read] == expected


@FOLDER
@given(content=st.binary() | st.binary().map(lambda tail: b'{"a": "' + tail + b'"}\n{}'))
def test_any_bytes_are_read_or_named(tmp_path: Path, content) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    read = list(each_json_line(path))
    lines = content.replace(b"\n\xef\xbb\xbf", b"\n").removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert [line.number for line in read] == [number for number, line in enumerate(lines, start=1) if line.strip()]
    bad = [line for line in read if isinstance(line, BadLine)]
    if not bad:
        assert read_json_lines(path) == read
        return
    with pytest.raises(UserError) as refusal:
        read_json_lines(path)
    assert refusal.value.message == f"{path}, line {bad[0].number} {bad[0].problem}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"a": "\xff"}', r"is no UTF-8 \(invalid start byte at byte 8\)\n  convert the file"),
        ("{}".encode("utf-16"), r"is no UTF-8 \(invalid start byte at byte 1\)"),
        (b"{", r"is no JSON \(Expecting property name.* at character 2\)\n  mend or remove the line"),
        (b'{"a": 1} {}', r"is no JSON \(Extra data at character 10\)"),
        (b"[]", "is a JSON list, expected an object"),
        (b"null", "is null, expected an object"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "4300 digits"),
        (b'{"a": {"b": 1, "c": 2, "b": 3}}', "has b twice; keep one of them"),
    ],
)
def test_a_bad_line_is_named_with_file_and_line_and_the_others_are_read(tmp_path: Path, line, message) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + line + b'\n{"b": 2}')
    with pytest.raises(OurError, match=rf"x.jsonl, line 3 .*{message}"):
        read_json_lines(path, OurError)
    found = list(each_json_line(path))
    assert [one.value for one in found if isinstance(one, JsonLine)] == [{"a": 1}, {"b": 2}]
    assert [one.number for one in found] == [1, 3, 4]
    assert [one.where for one in found if isinstance(one, JsonLine)] == [f"{path}, line 1", f"{path}, line 4"]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OurError, match="there is no file .*x.jsonl\n  check the path"):
        read_json_lines(tmp_path / "x.jsonl", OurError)
    with pytest.raises(OurError, match=r"cannot be read \(Is a directory\)\n  expected a file with one JSON object a"):
        read_json_lines(tmp_path, OurError)


@given(whole=st.lists(OBJECTS), value=OBJECTS, cut=st.floats(0, 1, exclude_max=True))
@FOLDER
def test_a_journal_stopped_while_a_line_was_written_loses_that_line_alone(tmp_path: Path, whole, value, cut) -> None:
    path = tmp_path / "journal.jsonl"
    last = json.dumps(value)
    path.write_text("".join(json.dumps(one) + "\n" for one in whole) + last[: int(cut * (len(last) + 1))])
    drop_half_line(path)
    assert [line.value for line in read_json_lines(path)] == whole
    drop_half_line(tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def test_nobody_else_cuts_files_into_lines() -> None:
    """`str.splitlines` cuts at U+2028 too; YAML for messages, a report of our own and tables of the kernel are none."""
    wanted = re.compile(r"read_text\([^)]*\)\.(splitlines|split)\(|readlines\(")
    found = {path for path in (ROOT / "omnigen2").rglob("*.py") if wanted.search(path.read_text(encoding="utf-8"))}
    assert {path.name for path in found} <= {"machine.py", "messages.py", "summary.py", "where.py"}
