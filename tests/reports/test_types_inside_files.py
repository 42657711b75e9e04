"""JSON, YAML or chunks held something else than they should: a traceback, minutes of work, or no file's name."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from omnigen2.data import DataError, OptimizeSettings, StreamingSource, open_data, optimize
from omnigen2.errors import UserError
from omnigen2.files import StrictLoader, read_json, read_object, read_weights, read_yaml
from tests.data.cases import picture, t2i, write_jsonl

BAD_JSON = {
    "[]": r"is \[\], expected an object",
    "null": "is null, expected an object",
    "": "is no JSON",
    "{": "is no JSON",
    '{"a": 1, "a": 2}': "has a twice",
    "[" * 100_000: "is nested too deeply",
    '{"a": ' + "9" * 5000 + "}": "has a number of more than 4300 digits",
    "\udcff": "is no UTF-8",
}


@pytest.mark.parametrize("text", BAD_JSON)
def test_a_json_file_that_holds_no_object_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, errors="surrogateescape")
    for read in (read_object, read_json):
        with pytest.raises(UserError, match=rf"a\.json {BAD_JSON[text]}"):
            read(tmp_path / "a.json")


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"there is no file {tmp_path / 'a.json'}"):
        read_object(tmp_path / "a.json")
    (tmp_path / "a.safetensors").mkdir()
    for read in (read_object, read_yaml):
        with pytest.raises(UserError, match=r"a\.safetensors cannot be read \(Is a directory\)"):
            read(tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"a\.safetensors is a folder, expected a file"):
        read_weights(tmp_path / "a.safetensors")


def header(text: str, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if size is None else size) + text.encode() + bytes(8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(64),
        header("[]"),
        header("null"),
        header('{"a": []}'),
        header('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}}'),
        header('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}'),
        header('{"a": {"dtype": "X9", "shape": [2], "data_offsets": [0, 8]}}'),
        header('{"a": {"dtype": "F32", "shape": [' + "9" * 400 + '], "data_offsets": [0, 8]}}'),
        header('{"a": {"dtype": "F32", "shape": true, "data_offsets": [0, 8]}}'),
        header("{}", 2**60),
        header("[" * 5000),
    ],
)
def test_safetensors_of_something_else_are_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.safetensors is not a whole safetensors file"):
        read_weights(tmp_path / "a.safetensors")


BAD_YAML = {
    "a:\n  ? [b]\n  : c": "line 2 .*the key a list is no text",
    "a: 1\n1: b": r"line 2 .*the key '1' \(int\) is no text; write it in quotes",
    "on: b": r"line 1 .*the key 'on' \(bool\) is no text",
    "a: {null: b}": r"line 1 .*the key 'null' \(null\) is no text",
    "a: 1\nb: 2024-13-45": "line 2 .*'2024-13-45' is no timestamp, though it looks like one",
    "a: 2024-01-01 99:00:00": "is no timestamp",
    "a: 0x_": "line 1 .*'0x_' is no int",
    "a: !!int ''": "is no int",
    "a: !!float x": "is no float",
    "a: !!timestamp x": "is no timestamp",
    "a: " + "9" * 5000: "is no int",
    "a: 'x\x07y'": r"line 1 .*the character U\+0007 cannot stand in YAML",
    "a: 1\nb: \x00": r"line 2 .*the character U\+0000",
    "a: " + "[" * 200 + "]" * 200: "line 1 .*nested deeper than 60 levels",
    "a: &x [1, *x]": "line 1 .*a value that contains itself",
    "a: &x {b: &y {c: *x}}": "a value that contains itself",
    "a: 1\na: 2": "line 2 .*the key 'a' stands twice",
    "a: !!python/object/apply:os.getcwd []": "line 1 .*could not determine a constructor",
    "a: [": "line 1 is no valid YAML",
    "a: *x": "found undefined alias",
    "a: 1\n---\nb: 2": "line 2 .*but found another document",
    "\udcff": r"is no UTF-8 \(invalid start byte at byte 1\)",
}
GROWING = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]\n" for number in range(1, 6)
)
MERGING = "a0: &a0 {x: 1}\n" + "".join(
    f"a{number}: &a{number} {{<<: [{', '.join([f'*a{number - 1}'] * 9)}]}}\n" for number in range(1, 7)
)


@pytest.mark.parametrize("text", BAD_YAML)
def test_yaml_of_something_else_is_named_with_its_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(text, errors="surrogateescape")
    with pytest.raises(UserError, match=rf"a\.yml,? (.|\n)*{BAD_YAML[text]}"):
        read_yaml(tmp_path / "a.yml")


@pytest.mark.parametrize("text", [GROWING, MERGING])
def test_aliases_that_multiply_are_refused(text: str) -> None:
    with pytest.raises(yaml.MarkedYAMLError, match="more than 100000 values, by its aliases"):
        yaml.load(text, StrictLoader)  # noqa: S506 (a SafeLoader)


def test_yaml_that_people_write_stays_what_it_is(tmp_path: Path) -> None:
    text = "\ufeffa: &x {b: 1e-3, 'on': yes}\nc: {<<: *x, d: 2024-01-02}\ne: [*x, *x]\nf: ü\u2028\n"
    (tmp_path / "a.yml").write_text(text, encoding="utf-8")
    found = read_yaml(tmp_path / "a.yml")
    assert found["a"] == {"b": 1e-3, "on": True}
    assert found["c"]["b"] == 1e-3
    assert found["e"] == [found["a"]] * 2
    large = "a:\n" + "".join(f"- {{path: {number}.jsonl, ratio: 1}}\n" for number in range(3000))
    assert len(yaml.load(large, StrictLoader)["a"]) == 3000  # noqa: S506 (a SafeLoader)


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chunks")
    (folder / "a.png").write_bytes(picture())
    write_jsonl(folder / "x.jsonl", [t2i("a.png")] * 5)
    optimize(folder / "x.jsonl", folder / "out", OptimizeSettings(), lambda _: None)
    return folder / "out"


@pytest.fixture
def copied(chunks: Path, tmp_path: Path) -> Path:
    for file in chunks.rglob("*.*"):
        copy = tmp_path / "out" / file.relative_to(chunks)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return tmp_path / "out"


INDEX: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a list": (lambda content: [], r"is \[\], expected an object"),
    "null": (lambda content: None, "is null, expected an object"),
    "no config": (lambda content: {**content, "config": None}, "has config null, expected an object"),
    "no list": (lambda content: {**content, "chunks": {}}, "has chunks {}, expected a list of objects"),
    "no objects": (lambda content: {**content, "chunks": [None]}, "expected a list of objects"),
    "a negative size": (lambda content: changed(content, chunk_size=-5), "has chunk_size -5, expected a whole number"),
    "true": (lambda content: changed(content, chunk_size=True), "has chunk_size true, expected a whole number"),
    "400 digits": (lambda content: changed(content, chunk_size=10**400), "has chunk_size 1000.*… expected a whole|…,"),
    "half a size": (lambda content: changed(content, chunk_bytes=1.5), "has chunk_bytes 1.5"),
    "another folder": (
        lambda content: changed(content, filename="../x.bin"),
        "the filename '../x.bin' is no file name",
    ),
    "a list for a name": (lambda content: changed(content, filename=[]), r"has filename \[\], expected text"),
    "another count": (lambda content: changed(content, chunk_size=4), "does not hold the 4 records"),
    "compressed": (lambda content: configured(content, compression="zstd"), 'compression "zstd", expected none'),
    "encrypted": (lambda content: configured(content, encryption={"a": 1}), "has encryption .*expected none"),
    "of a table": (lambda content: configured(content, item_loader="ParquetLoader"), "has item_loader"),
    "pickled": (lambda content: configured(content, data_format=["pickle"]), "pickle runs whatever code it holds"),
    "no format": (lambda content: configured(content, data_format=5), "has data_format 5, expected"),
}


def changed(content: Any, **values: Any) -> Any:
    return {**content, "chunks": [{**content["chunks"][0], **values}]}


def configured(content: Any, **values: Any) -> Any:
    return {**content, "config": {**content["config"], **values}}


@pytest.mark.parametrize("change", INDEX)
def test_an_index_of_other_types_is_named(change: str, copied: Path) -> None:
    make, message = INDEX[change]
    index = copied / "x" / "index.json"
    index.write_text(json.dumps(make(json.loads(index.read_text()))))
    with pytest.raises(DataError, match=rf"(.|\n)*index\.json(.|\n)*{message}|chunk-0-0.bin {message}"):
        open_data(copied)


@pytest.mark.parametrize("content", [bytes, lambda size: b"\xff" * size, lambda size: (5).to_bytes(4, "little") * 999])
def test_a_chunk_of_something_else_is_named_when_it_is_opened(content: Callable[[int], bytes], copied: Path) -> None:
    chunk = copied / "x" / "chunk-0-0.bin"
    size = chunk.stat().st_size
    chunk.write_bytes(content(size)[:size].ljust(size, b"\0"))
    with pytest.raises(DataError, match=r"chunk-0-0\.bin does not hold the 5 records that the index names"):
        StreamingSource(copied / "x")


def test_a_record_of_zeros_is_named(copied: Path) -> None:
    chunk = copied / "x" / "chunk-0-0.bin"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:28] + bytes(len(whole) - 28))
    with pytest.raises(DataError, match=r"record 0 of the chunk .* is damaged"):
        StreamingSource(copied / "x")[0]


SIZES = {
    "tasks": (np.zeros(5, np.int32), "tasks is of type int32"),
    "text_tokens": (np.full(5, -1, np.int32), "its checksum is wrong"),
    "targets": (np.zeros((5, 3), np.int32), r"targets is of type int32 and shape \(5, 3\)"),
    "references": (np.ones((9, 2), np.int32), "the starts of references are not in order"),
    "starts": (np.array([3, 0], np.int64), "the starts of references are not in order"),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_table_of_sizes_of_other_types_is_named(name: str, copied: Path) -> None:
    from safetensors import safe_open

    array, message = SIZES[name]
    file = copied / "x" / "samples.safetensors"
    with safe_open(file, "pt") as opened:
        facts, tensors = opened.metadata(), {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    save_file({**tensors, name: torch.from_numpy(array)}, file, facts)
    with pytest.raises(DataError, match=rf"samples\.safetensors is damaged \({message}"):
        open_data(copied)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"report\.json is \[\], expected an object"),
        ('{"sources": {}}', "has sources {}, expected a list of objects"),
        ('{"sources": []}', "names no sources"),
        ('{"sources": [{"name": [], "ratio": 1, "written": 5}]}', r"has name \[\], expected text"),
        ('{"sources": [{"name": "x", "ratio": true, "written": 5}]}', "has ratio true, expected a number"),
        ('{"sources": [{"name": "x", "ratio": -1, "written": 5}]}', "has ratio -1, expected a number of at least 0"),
        ('{"sources": [{"name": "x", "ratio": NaN, "written": 5}]}', "has ratio NaN, expected a number"),
        ('{"sources": [{"name": "x", "ratio": 1, "written": "5"}]}', 'has written "5", expected a whole number'),
        ('{"sources": [{"name": "../x", "ratio": 1, "written": 5}]}', "the name '../x' is no path inside"),
        ('{"sources": [{"name": "x", "ratio": 1, "written": 5}, {"name": "x", "ratio": 1, "written": 5}]}', "x twice"),
    ],
)
def test_a_report_of_other_types_is_named(content: str, message: str, copied: Path) -> None:
    (copied / "report.json").write_text(content)
    with pytest.raises(DataError, match=message):
        open_data(copied)
