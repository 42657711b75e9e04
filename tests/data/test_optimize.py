"""From jsonl files to chunks: what is good arrives, what is bad is listed."""

import json
from pathlib import Path

import pytest

from omnigen2.data import DataError, JsonlSource, OptimizeSettings, StreamingSource, open_data, optimize
from omnigen2.data.optimize import BAD_FILE, REPORT_FILE, Advance
from tests.data.cases import picture, t2i, write_jsonl


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    for i in range(6):
        (tmp_path / f"{i}.png").write_bytes(picture(8 + i, 8))
    (tmp_path / "broken.png").write_bytes(picture()[:50])
    good = [t2i(f"{i}.png") for i in range(6)]
    write_jsonl(tmp_path / "draw.jsonl", [*good[:3], "{", t2i("broken.png"), *good[3:], t2i("gone.png")])
    pair = {"task_type": "edit", "instruction": "x", "input_images": ["0.png", "1.png"], "output_image": "2.png"}
    write_jsonl(tmp_path / "edit.jsonl", [pair, pair])
    file = tmp_path / "data.yml"
    file.write_text("data: [{path: draw.jsonl, ratio: 3}, {path: edit.jsonl, ratio: 1}]")
    return file


def ignore(advance: Advance) -> None:
    del advance


def test_bad_records_are_left_out_listed_and_counted(spec: Path, tmp_path: Path) -> None:
    seen: list[Advance] = []
    out = tmp_path / "out"
    report = optimize(spec, out, OptimizeSettings(chunk_bytes=500), seen.append)
    assert [(s.name, s.ratio, s.written, s.bad) for s in report.sources] == [("draw", 0.75, 6, 3), ("edit", 0.25, 2, 0)]
    listed = [json.loads(line) for line in (out / BAD_FILE).read_text().splitlines()]
    assert [(Path(bad["file"]).name, bad["line"]) for bad in listed] == [("draw.jsonl", n) for n in (4, 5, 9)]
    problems = ("is no JSON", "broken.png cannot be read", "gone.png, which does not exist")
    assert all(problem in bad["problem"] for bad, problem in zip(listed, problems, strict=True))
    assert json.loads((out / REPORT_FILE).read_text())["bad"] == 3
    assert [(a.name, a.done, a.total) for a in seen[-3:]] == [("edit", 0, 2), ("edit", 1, 2), ("edit", 2, 2)]
    assert seen[9] == Advance("draw", 9, 9, 3)


def test_chunks_hold_what_the_jsonl_files_say(spec: Path, tmp_path: Path) -> None:
    optimize(spec, tmp_path / "out", OptimizeSettings(threads=3), ignore)
    chunks, files = open_data(tmp_path / "out"), open_data(spec, bad_records="skip")
    assert chunks.weights == files.weights == {"draw": 0.75, "edit": 0.25}
    for name, source in files.sources.items():
        stored = chunks.sources[name]
        assert len(stored) == len(source)
        for i in range(len(source)):
            assert stored.sizes(i) == source.sizes(i)
            assert stored[i].images == tuple(Path(image).read_bytes() for image in source[i].images)
            assert (stored[i].instruction, stored[i].key) == (source[i].instruction, source[i].key)
    alone = open_data(tmp_path / "out" / "edit")
    assert (list(alone.sources), alone.weights) == (["edit"], {"edit": 1.0})


def test_strict_stops_at_the_first_bad_record(spec: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"draw.jsonl, line 4: is no JSON(.|\n)*leave --strict out"):
        optimize(spec, tmp_path / "out", OptimizeSettings(strict=True), ignore)
    with pytest.raises(DataError, match=r"neither a yml .* stopped halfway has none"):
        open_data(tmp_path / "out")


def test_an_entry_without_usable_records_is_an_error_after_the_report(spec: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "edit.jsonl", ["{"])
    with pytest.raises(DataError, match=r"edit of .*data.yml has no usable record; .*bad_records.jsonl says"):
        optimize(spec, tmp_path / "out", OptimizeSettings(), ignore)
    assert json.loads((tmp_path / "out" / REPORT_FILE).read_text())["bad"] == 4
    with pytest.raises(DataError, match="has files; name an empty folder"):
        optimize(spec, tmp_path / "out", OptimizeSettings(), ignore)
    with pytest.raises(DataError, match=r"^edit of .*out has no records, but a share .*bad_records.jsonl says"):
        open_data(tmp_path / "out")
    assert list(open_data(tmp_path / "out" / "draw").weights) == ["draw"]
    spec.write_text("data: [{path: draw.jsonl, ratio: 3}, {path: edit.jsonl, ratio: 0}]")
    with pytest.raises(DataError, match="edit of .* has no usable record"):
        optimize(spec, tmp_path / "unused", OptimizeSettings(), ignore)
    assert open_data(tmp_path / "unused").weights == {"draw": 1.0}


def test_a_damaged_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / REPORT_FILE).write_text('{"sources": [{}]}')
    with pytest.raises(DataError, match=r"report.json, sources\[0\], has no name, expected text"):
        open_data(tmp_path)


def test_a_single_jsonl_file_is_a_spec(spec: Path, tmp_path: Path) -> None:
    optimize(tmp_path / "edit.jsonl", tmp_path / "out", OptimizeSettings(), ignore)
    assert len(StreamingSource(tmp_path / "out" / "edit")) == len(JsonlSource(tmp_path / "edit.jsonl")) == 2
