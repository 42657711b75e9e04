"""Reading the official layout, and naming what is wrong in it."""

import json
from pathlib import Path

import pytest

from omnigen2.data import DataError, JsonlSource, Sample, open_data, read_jsonl, read_spec
from tests.data.cases import picture, t2i, write_jsonl


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(picture())
    (tmp_path / "broken.jpg").write_bytes(picture()[:50])
    return tmp_path


def edit(**more) -> dict:
    return {"task_type": "edit", "instruction": "x", "input_images": ["a.png"], "output_image": "b.png", **more}


def test_records_of_the_official_layout(folder: Path) -> None:
    records = [
        t2i("a.png", input_images=None),
        edit(),
        {"task_type": "understanding", "instruction": "?", "input_images": ["a.png"], "answer": "!", "meta": "{}"},
    ]
    read = [sample for _, sample in read_jsonl(write_jsonl(folder / "x.jsonl", records))]
    assert read == [
        Sample("text_to_image", "draw a.png", (), folder / "a.png", key="x.jsonl:1"),
        Sample("edit", "x", (folder / "a.png",), folder / "b.png", key="x.jsonl:2"),
        Sample("understanding", "?", (folder / "a.png",), None, "!", "x.jsonl:3", "{}"),
    ]


def test_empty_lines_and_a_byte_order_mark_are_no_records(folder: Path) -> None:
    file = folder / "x.jsonl"
    file.write_text("﻿" + json.dumps(t2i("a.png")) + "\r\n\n  \n" + json.dumps(t2i("b.png")), encoding="utf-8")
    assert [line for line, read in read_jsonl(file) if isinstance(read, Sample)] == [1, 4]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", r"is no JSON \(Expecting property name.* at character 2\)"),
        (t2i("broken.jpg"), "image file .*broken.jpg cannot be read"),
        ("[]", "is a JSON list, expected an object"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"task_type": ' + "9" * 5000 + "}", "4300 digits"),
        ('{"instruction": "x", "instruction": "y"}', "has instruction twice; keep one of them"),
        (t2i("data:image/png;base64," + "A" * 5000), r"A…, where nothing can be looked for \(File name too long\)"),
        (t2i("c.png"), r"names the image .*c.png, which does not exist"),
        (t2i("a.png", task_type="draw", answer="x"), "task_type 'draw', expected one of text_to_image"),
        (t2i("a.png", task_type=" "), "task_type ' ', expected one of text_to_image"),
        (t2i("a.png", meta="x", meta_data={}), "both meta and meta_data; keep one of them"),
        (t2i("a.png", input_images=False), "input_images False, expected a list of paths"),
        (t2i(""), "names the image '', which is no file"),
        (t2i("a.png", task_type=None), "task_type None, expected text"),
        (t2i("a.png", instruction=""), "has an empty instruction"),
        (t2i("a.png", instruction=["x", "y"]), r"instruction \['x', 'y'\], expected text"),
        (t2i("a.png", instruction="\ud800"), "half a character in its instruction"),
        (t2i("a.png", output_images=["a.png"]), "unknown fields output_images; known are task_type"),
        (t2i("a.png", input_images=["a.png"]), "takes no references"),
        (t2i("a.png", output_image=None), "needs a target image"),
        (edit(input_images="a.png"), "input_images 'a.png', expected a list of paths"),
        (edit(input_images=[["a.png"]]), "expected a list of paths"),
        (edit(input_images=[]), "needs at least 1 reference"),
    ],
)
def test_a_bad_record_is_named_with_file_and_line(folder: Path, record, message) -> None:
    file = write_jsonl(folder / "x.jsonl", [t2i("a.png"), record, t2i("b.png")])
    with pytest.raises(DataError, match=rf"x.jsonl, line 2: (.|\n)*{message}(.|\n)*\n.*bad_records='skip'"):
        JsonlSource(file)
    source = JsonlSource(file, bad_records="skip")
    assert [source[i].key for i in range(len(source))] == ["x.jsonl:1", "x.jsonl:3"]
    assert [(bad.file, bad.line) for bad in source.bad] == [(file, 2)]


def test_bytes_that_are_no_text_are_a_bad_record(folder: Path) -> None:
    (folder / "x.jsonl").write_bytes(b'{"a": "\xff"}\n')
    with pytest.raises(DataError, match="line 1: is no UTF-8"):
        JsonlSource(folder / "x.jsonl")


def test_a_file_without_usable_records_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"x.jsonl has no usable record \(1 bad, the first: .*line 1"):
        JsonlSource(write_jsonl(folder / "x.jsonl", ["{"]), bad_records="skip")
    (folder / "y.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"y.jsonl has no usable record \(0 bad\); fill or remove it"):
        JsonlSource(folder / "y.jsonl")
    with pytest.raises(DataError, match="there is no file .*z.jsonl"):
        JsonlSource(folder / "z.jsonl")


def spec(folder: Path, text: str, name: str = "data.yml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_ratios_are_shares_and_nested_ones_shares_of_shares(folder: Path) -> None:
    images = folder / "images"
    images.mkdir()
    (images / "c.png").write_bytes(picture())
    write_jsonl(folder / "t2i.jsonl", [t2i("a.png")])
    write_jsonl(folder / "many" / "deep" / "y.jsonl", [t2i("c.png")])
    write_jsonl(folder / "many" / "x.jsonl", [t2i("c.png"), t2i("c.png")])
    spec(folder, "data: [{path: t2i.jsonl, ratio: 1, name: one}, {path: t2i.jsonl, ratio: 3, name: three}]", "in.yaml")
    file = spec(
        folder,
        "data:\n  - {path: t2i.jsonl, ratio: 1, type: default}\n  - {path: in.yaml, ratio: 2}\n"
        "  - {path: many, ratio: 1, image_root: images}\n",
    )
    assert [(e.name, e.ratio) for e in read_spec(file)] == [
        ("t2i", 0.25),
        ("one", 0.125),
        ("three", 0.375),
        ("many", 0.25),
    ]
    opened = open_data(file)
    assert {name: len(source) for name, source in opened.sources.items()} == {"t2i": 1, "one": 1, "three": 1, "many": 3}
    assert opened.weights["three"] == 0.375
    assert opened.bad == ()
    assert [(e.name, e.ratio) for e in read_spec(folder / "t2i.jsonl")] == [("t2i", 1.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: [", "line 1 is no valid YAML"),
        ("[]", "has no list `data:`"),
        ("data: []", "has no list `data:`"),
        ("data: [x.jsonl]", "entry 1 of .*data.yml is 'x.jsonl'; expected"),
        ("data: [{path: x.jsonl, ratio: -1}]", "entry 1 of .* has ratio -1; give a number of at least 0"),
        ("data: [{path: x.jsonl}]", "has ratio None"),
        ("data: [{path: x.jsonl, ratio: true}]", "has ratio True"),
        ("data: [{path: x.jsonl, ratio: .inf}]", "has ratio inf"),
        ("data: [{path: x.jsonl, ratio: .nan}]", "has ratio nan"),
        ("data: [{path: x.jsonl, ratio: 0}]", "all ratios of .* are 0"),
        ("data: [{path: x.jsonl, ratio: 1, ration: 2}]", r"unknown keys \['ration'\]; known are path"),
        ("data: [{ratio: 1}]", "has no path"),
        ("data: [{path: x.jsonl, ratio: 1, path: y.jsonl}]", r"the key 'path' stands twice"),
        ("data: [{path: x.jsonl, ratio: 1, image_root: 5}]", "has image_root 5; give the path of a folder"),
        ("data: [{path: x.jsonl, ratio: 1, name: ../x}]", r"has name '\.\./x', under which no folder can be written"),
        ("data: [{path: x.jsonl, ratio: 1, name: /x}]", "has name '/x', under which"),
        ("data: [{path: x.jsonl, ratio: 1, name: .}]", r"has name '\.', under which"),
        ("data: [{path: x.jsonl, ratio: 1, name: [x]}]", r"has name \['x'\], under which"),
        ("data: [{path: y.jsonl, ratio: 1}]", "there is no file .*y.jsonl"),
        ("data: [{path: x.parquet, ratio: 1}]", "names .*x.parquet, expected a .jsonl"),
        ("data: [{path: empty, ratio: 1}]", r"empty, named in .*, has no \*.jsonl files"),
        ("data: [{path: data.yml, ratio: 1}]", "names itself"),
        (
            "data: [{path: x.jsonl, ratio: 1}, {path: x.jsonl, ratio: 1}]",
            "several entries named x; give each a `name:`",
        ),
    ],
)
def test_a_wrong_spec_is_explained(folder: Path, text, message) -> None:
    write_jsonl(folder / "x.jsonl", [t2i("a.png")])
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        read_spec(spec(folder, text))


def test_shares_may_be_written_as_powers_of_ten_and_this_folder_as_a_dot(folder: Path) -> None:
    write_jsonl(folder / "x.jsonl", [t2i("a.png")])
    file = spec(folder, "data: [{path: x.jsonl, ratio: 1e-3, name:}, {path: ., ratio: 3e-3}, {path: .., ratio: 0}]")
    names = ["x", folder.name, folder.parent.name]
    assert [(e.name, e.ratio) for e in read_spec(file)] == list(zip(names, [0.25, 0.75, 0.0], strict=True))


def test_bad_records_of_a_spec_can_be_skipped(folder: Path) -> None:
    write_jsonl(folder / "x.jsonl", [t2i("a.png"), "{"])
    opened = open_data(spec(folder, "data: [{path: x.jsonl, ratio: 1}]"), bad_records="skip")
    assert [record.line for record in opened.bad] == [2]


def test_a_path_that_is_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="neither a yml or jsonl file nor a folder with a report.json"):
        open_data(folder / "nothing")


def test_records_with_broken_pictures_can_be_kept_in_their_places(folder: Path) -> None:
    """So a source has the same samples before and after a picture breaks, and a run goes on with it."""
    file = write_jsonl(folder / "x.jsonl", [t2i("a.png"), t2i("broken.jpg"), edit(input_images=["broken.jpg"])])
    whole = JsonlSource(write_jsonl(folder / "y.jsonl", [t2i("a.png"), t2i("b.png"), edit()]))
    for bad_records in ("refuse", "skip"):
        source = JsonlSource(file, bad_records=bad_records, broken="skip")
        assert [source.sizes(index)[1:] for index in range(3)] == [whole.sizes(index)[1:] for index in range(3)]
        assert [(bad.file, bad.line) for bad in source.broken] == [(file, 2), (file, 3)]
        assert source.bad == []
    (folder / "broken.jpg").write_bytes(b"nothing")
    assert JsonlSource(file, broken="skip").sizes(2)[1:] == (((1, 1),), (16, 16))
    with pytest.raises(DataError, match="line 4: is no JSON"):
        JsonlSource(write_jsonl(folder / "x.jsonl", [t2i("a.png")] * 3 + ["{"]), broken="skip")
    opened = open_data(write_jsonl(folder / "x.jsonl", [t2i("a.png"), t2i("broken.jpg")]), broken="skip")
    assert (len(opened.sources["x"]), len(opened.broken), opened.bad) == (2, 1, ())
