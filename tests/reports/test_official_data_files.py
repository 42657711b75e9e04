"""The official example of training data was refused, or lost names and keys: files that others have, as they are."""

import json
from pathlib import Path
from typing import Any

import pytest

from omnigen2.data import DataError, OptimizeSettings, Sample, open_data, optimize, read_jsonl, read_spec
from tests.data.cases import picture, t2i, write_jsonl

KINDS = ("t2i", "edit", "ic")


def record(kind: str, **more: Any) -> dict[str, Any]:
    before = {} if kind == "t2i" else {"input_images": ["/nowhere"]}
    return {"task_type": kind, "instruction": f"a {kind}", "output_image": "a.png", **before, **more}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.png").write_bytes(picture())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def official(folder: Path, place: str, count: int = 1) -> Path:
    """The example of the official repository: a yml of three ymls, each with files named by numbers."""
    for kind in KINDS:
        images = {} if kind == "t2i" else {"input_images": [str(folder / "a.png")]}
        for number in range(count):
            line = record(kind, output_image=str(folder / "a.png"), **images)
            write_jsonl(folder / f"{kind}/jsonls/{number}.jsonl", [line, line])
        inner = [
            f"  -\n    path: '{place.format(kind)}jsonls/{number}.jsonl'\n    type: '{kind}'\n    ratio: !!float 1\n"
            for number in range(count)
        ]
        (folder / kind / f"{kind}.yml").write_text("ratio_type: inside_ratio\n\ndata:\n" + "".join(inner))
    outer = [f"  -\n    path: '{kind}/{kind}.yml'\n    type: '{kind}'\n    ratio: !!float 0.33\n" for kind in KINDS]
    (folder / "mix.yml").write_text("data:\n" + "".join(outer))
    return folder / "mix.yml"


@pytest.mark.parametrize("place", ["", "{}/"], ids=["beside the file", "in the current folder, as there"])
def test_files_of_one_name_are_told_apart_by_their_folders(folder: Path, place: str) -> None:
    mix = official(folder, place)
    opened = open_data(mix)
    assert opened.weights == dict.fromkeys(("t2i/jsonls/0", "edit/jsonls/0", "ic/jsonls/0"), pytest.approx(1 / 3))
    assert [source[0].task for source in opened.sources.values()] == ["text_to_image", "edit", "in_context"]
    optimize(mix, folder / "chunks", OptimizeSettings(), lambda _: None)
    assert open_data(folder / "chunks").weights == opened.weights


def test_only_names_that_clash_are_longer(folder: Path) -> None:
    for name in ("x/0", "y/0", "y/x", "1"):
        write_jsonl(folder / f"{name}.jsonl", [t2i(str(folder / "a.png"))])
    paths = ("x/0.jsonl", "y/0.jsonl", "y/x.jsonl", "1.jsonl")
    (folder / "s.yml").write_text("data:\n" + "".join(f"  - {{path: {path}, ratio: 1}}\n" for path in paths))
    assert [entry.name for entry in read_spec(folder / "s.yml")] == ["x/0", "y/0", "y/x", "1"]
    optimize(folder / "s.yml", folder / "out", OptimizeSettings(), lambda _: None)
    assert len(open_data(folder / "out").sources) == 4


def named(folder: Path, first: str, second: str, same: bool = False) -> list[str]:
    """The names of two files `0.jsonl`, or of one, each in a yml of its own, for which a yml has such entries."""
    for kind, other in (("a", "a"), ("b", "a" if same else "b")):
        write_jsonl(folder / kind / "0.jsonl", [t2i(str(folder / "a.png"))])
        (folder / f"{kind}.yml").write_text(f"data: [{{path: {other}/0.jsonl, ratio: 1}}]")
    (folder / "s.yml").write_text(f"data: [{{path: a.yml, ratio: 1{first}}}, {{path: b.yml, ratio: 1{second}}}]")
    return [entry.name for entry in read_spec(folder / "s.yml")]


def test_the_name_of_a_nested_file_is_kept(folder: Path) -> None:
    assert named(folder, ", name: red", ", name: blue") == ["red/0", "blue/0"]
    assert named(folder, ", name: red", "") == ["red/0", "0"]
    assert named(folder, ", type: t2i", ", type: edit") == ["a/0", "b/0"]
    assert named(folder, ", type: t2i", ", type: edit", same=True) == ["t2i/0", "edit/0"]
    assert named(folder, "", "", same=True) == ["a/0", "b/0"]
    with pytest.raises(DataError, match=r"several entries named red/0; give each a `name:`"):
        named(folder, ", name: red", ", name: red", same=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "ratio_type: other\ndata: [{path: x.jsonl, ratio: 1}]",
            'has ratio_type "other", expected one of inside_ratio',
        ),
        ("data: [{path: x.jsonl, ratio: 1}]\nseed: 5", r'has "seed", known are data, ratio_type'),
        ("data: [{path: x.jsonl, ratio: 1, type: [t2i]}]", r"has type \['t2i'\]"),
        ("data: [{path: x.jsonl, ratio: 1, weight: 2}]", r"unknown keys \['weight'\]"),
        ("data: [{path: '', ratio: 1}]", "has no path"),
        ("data: [{path: x.jsonl, ratio: 1e400}]", "has ratio inf"),
        ("data: [{path: x.jsonl, ratio: 1e308}, {path: x.jsonl, ratio: 1e308}]", "has ratio 1e[+]308"),
        ("data: [{path: folder.jsonl, ratio: 1}]", "folder.jsonl, named in .* has no"),
        (f"data: [{{path: {'x' * 300}, ratio: 1}}]", "where nothing can be looked for"),
    ],
)
def test_no_key_is_dropped_in_silence(folder: Path, text: str, message: str) -> None:
    write_jsonl(folder / "x.jsonl", [t2i("a.png")])
    (folder / "folder.jsonl").mkdir()
    (folder / "data.yml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_spec(folder / "data.yml")


def test_json_files_are_lines_or_one_list(folder: Path) -> None:
    records = [t2i("a.png"), t2i("a.png", instruction="two\u2028lines")]
    forms = {
        "lines": "\n".join(map(json.dumps, records)),
        "list": json.dumps(records),
        "long": "\n" + json.dumps(records, indent=2, ensure_ascii=False) + "\n",
        "marked": "\ufeff" + json.dumps(records),
    }
    for name, text in forms.items():
        (folder / f"{name}.json").write_text(text)
        source = open_data(folder / f"{name}.json").sources[name]
        assert [source[index].instruction for index in range(2)] == ["draw a.png", "two\u2028lines"]
    (folder / "all.yml").write_text("data: [{path: list.json, ratio: 1}, {path: more, ratio: 1}]")
    (folder / "more").mkdir()
    (folder / "more" / "deep.json").write_text(json.dumps([t2i(str(folder / "a.png"))]))
    optimize(folder / "all.yml", folder / "out", OptimizeSettings(), lambda _: None)
    assert {name: len(source) for name, source in open_data(folder / "out").sources.items()} == {"list": 2, "more": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"task_type": "t2i"},\n {"task_type": 5}]', "x.json, line 1: "),
        ('[\n{"task_type": "t2i", "instruction": "a", "output_image": "a.png"},\n\n[]]', "line 4: is a JSON list"),
        ('[[{"task_type": "t2i", "instruction": "a", "output_image": "a.png"}]]', "line 1: is a JSON list"),
        ("[{]", r"x.json is no JSON \(.*at character 3\)"),
        ("[{}, {}]\n{}", r"x.json is no JSON \(Extra data"),
        ("[]", "has no usable record"),
        ("", "has no usable record"),
        ("[" * 150 + "]" * 150, "x.json is nested too deeply"),
        ('[{"a": 1, "a": 2}]', "has a twice"),
    ],
)
def test_what_is_wrong_in_a_json_file_is_told(folder: Path, text: str, message: str) -> None:
    (folder / "x.json").write_text(text)
    with pytest.raises(DataError, match=message):
        open_data(folder / "x.json")


@pytest.mark.parametrize("name", ["remove", "ps_human", "t2i_long", "Style Transfer", "edit"])
def test_any_name_of_a_task_is_one_of_drawing(folder: Path, name: str) -> None:
    """The official loader asks whether there are input images, and nothing else."""
    line = {"task_type": name, "instruction": "x", "output_image": "a.png", "input_images": ["a.png"]}
    plain = {**line, "input_images": None, "task_type": name if name != "edit" else "other"}
    read = [sample for _, sample in read_jsonl(write_jsonl(folder / "x.jsonl", [line, plain]))]
    assert [sample.task for sample in read if isinstance(sample, Sample)] == ["edit", "text_to_image"]


@pytest.mark.parametrize(
    ("given", "meta"),
    [
        ({"meta_data": {"id": 7, "text": "é"}}, '{"id": 7, "text": "é"}'),
        ({"meta_data": "as it is"}, "as it is"),
        ({"meta_data": None, "meta": None}, ""),
        ({"meta": "own"}, "own"),
    ],
)
def test_meta_data_travel_with_the_sample(folder: Path, given: dict[str, Any], meta: str) -> None:
    (_, read), *_ = read_jsonl(write_jsonl(folder / "x.jsonl", [t2i("a.png", **given)]))
    assert isinstance(read, Sample)
    assert read.meta == meta


def test_pictures_with_captions_are_data(folder: Path) -> None:
    photos = folder / "photos"
    (photos / "deep").mkdir(parents=True)
    for name, text in (("cat.jpg", "\ufeffa cat\r\n"), ("deep/dog.PNG", "a dog\u2028asleep")):
        (photos / name).write_bytes(picture())
        (photos / name).with_suffix(".txt").write_text(text)
    (photos / "._cat.jpg").write_bytes(b"")
    (folder / "s.yml").write_text("data: [{path: photos, ratio: 1}]")
    for path in (photos, folder / "s.yml"):
        source = open_data(path).sources["photos"]
        assert [(source[i].key, source[i].instruction, source[i].task) for i in range(len(source))] == [
            ("photos/cat.jpg", "a cat", "text_to_image"),
            ("photos/deep/dog.PNG", "a dog\u2028asleep", "text_to_image"),
        ]
    optimize(photos, folder / "out", OptimizeSettings(), lambda _: None)
    assert len(open_data(folder / "out").sources["photos"]) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.png", picture(), r"photos/b\.png: it has no caption b\.txt"),
        ("b.txt", b"a cat", r"photos/b\.txt: there is no picture of this name"),
        ("a.txt", b" \n", "photos/a.png has an empty instruction"),
        ("a.txt", b"\xff\xfea\0", r"its caption a\.txt cannot be read"),
        ("a.png", picture()[:40], r"image file .*a\.png cannot be read"),
    ],
)
def test_pictures_and_captions_without_one_another_are_told(folder: Path, name: str, content, message: str) -> None:
    photos = folder / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(picture())
    (photos / "a.txt").write_text("a cat")
    (photos / "c.png").write_bytes(picture())
    (photos / "c.txt").write_text("a dog")
    (photos / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{message}(.|\n)*mend or remove that file, or leave such data out"):
        open_data(photos)
    opened = open_data(photos, "skip")
    assert len(opened.sources["photos"]) == (2 if name.startswith("b") else 1)
    assert len(opened.bad) == 1


def test_a_folder_of_something_else_says_what_to_give(folder: Path) -> None:
    (folder / "photos").mkdir()
    (folder / "photos" / "a.png").write_bytes(picture())
    with pytest.raises(DataError, match=r"pictures and captions \(a.jpg beside a.txt\)"):
        open_data(folder / "photos")
    write_jsonl(folder / "photos" / "train.jsonl", [t2i("a.png")])
    with pytest.raises(DataError, match=r"no folder of chunks, but has train.jsonl\n  give the path of a file"):
        open_data(folder / "photos")
