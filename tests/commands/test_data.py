"""`omnigen2 data` as a user meets it."""

import io
from pathlib import Path

import pytest
from PIL import Image

from omnigen2.cli import main
from omnigen2.data import DataError, ListSource
from omnigen2.data.inspect import contact_sheet, summarise
from omnigen2.pictures import ImageReader, Section, sheet_png
from tests.data.cases import answer, drawing, edit, picture, t2i, write_jsonl


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(picture(20, 40))
    write_jsonl(tmp_path / "x.jsonl", [t2i("a.png"), "{", t2i("a.png")])
    (tmp_path / "data.yml").write_text("data: [{path: x.jsonl, ratio: 2}]")
    return tmp_path / "data.yml"


def test_optimize_then_inspect(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "optimize", str(spec), str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "x: 2 samples, 1 bad records left out, ratio 1" in told
    assert "x.jsonl, line 2: is no JSON" in told
    sheet = tmp_path / "sheet.png"
    assert main(["data", "inspect", str(tmp_path / "out"), "--out", str(sheet)]) == 0
    told = capsys.readouterr().out
    assert "x: 2 samples, ratio 1" in told
    assert "tasks: text_to_image 2" in told
    assert "references: 2 with 0" in told
    assert "targets (width x height): smallest 40x20, median 40x20, largest 40x20" in told
    assert Image.open(sheet).format == "PNG"


def test_inspect_reads_jsonl_too_and_lists_bad_records(spec: Path, tmp_path: Path, capsys) -> None:
    assert main(["data", "inspect", str(spec), "--out", str(tmp_path / "s.png"), "--each", "1"]) == 0
    assert "bad record left out" in capsys.readouterr().out


def test_chunks_with_animations_can_be_inspected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    write_jsonl(tmp_path / "x.jsonl", [t2i("a.gif")])
    words = ["--animated", "first_frame"]
    assert main(["data", "optimize", str(tmp_path / "x.jsonl"), str(tmp_path / "out"), *words]) == 0
    look = ["data", "inspect", str(tmp_path / "out"), "--out", str(tmp_path / "s.png")]
    assert main(look) == 2
    assert "has 2 frames" in capsys.readouterr().err
    assert main([*look, *words]) == 0


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 0, "usage: omnigen2 data COMMAND"),
        (["--help"], 0, "inspect PATH"),
        (["inspekt"], 2, "error: omnigen2 data has no command 'inspekt'\n       did you mean inspect?"),
        (["optimize", "{spec}"], 2, "required: OUT"),
        (["optimize", "{spec}", "{dir}/out", "--strict"], 2, "error: {dir}/x.jsonl, line 2: is no JSON"),
        (["optimize", "{dir}/no.yml", "{dir}/out"], 2, "error: there is no file {dir}/no.yml"),
        (["optimize", "{spec}", "{dir}"], 2, "error: {dir} has files\n       name an empty folder"),
        (["optimize", "{spec}", "{dir}/out", "--chunk_mb", "0"], 2, "chunk_bytes must be at least 1"),
        (["optimize", "{spec}", "{spec}"], 2, "error: {dir}/data.yml is a file\n       name an empty folder"),
        (["inspect", "{dir}/nothing"], 2, "error: {dir}/nothing is neither a yml or jsonl file"),
        (["inspect", "{spec}", "--out", "{dir}/x.jpg"], 2, "expected a name that ends in .png"),
        (
            ["inspect", "{spec}", "--each", "0", "--out", "{dir}/x.png"],
            2,
            "at least 1 sample of each source, got 0",
        ),
    ],
)
def test_what_the_command_says(spec: Path, tmp_path: Path, capsys, words, status, message) -> None:
    assert main(["data", *(word.format(spec=spec, dir=tmp_path) for word in words)]) == status
    told = capsys.readouterr()
    assert message.format(dir=tmp_path) in told.out + told.err


def test_a_contact_sheet_shows_so_many_of_every_source_and_names_references_and_targets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[Section] = []

    def remembered(title: str, sections: list[Section]) -> bytes:
        shown.extend(sections)
        return sheet_png(title, sections)

    monkeypatch.setattr("omnigen2.data.inspect.sheet_png", remembered)
    sources = {"d": ListSource([drawing(0, 900), edit(1)]), "q": ListSource([answer(i) for i in range(5)])}
    sheet = Image.open(io.BytesIO(contact_sheet(sources, 3, 0, ImageReader())))
    assert sheet.format == "PNG"
    assert [(section.heading, len(section.panels)) for section in shown] == [("d: 2 samples", 2), ("q: 5 samples", 3)]
    names = {tuple(name for name, _ in panel.pictures) for panel in shown[0].panels}
    assert names == {("target",), ("reference 1", "target")}
    assert max(max(pixels.shape) for panel in shown[0].panels for _, pixels in panel.pictures) == 320
    assert all(" > " in panel.text and not panel.pictures for panel in shown[1].panels)


def test_a_summary_counts() -> None:
    summary = summarise(ListSource([drawing(0, 8), drawing(1, 32), edit(0), answer(0)]))
    assert summary.tasks == {"text_to_image": 2, "edit": 1, "understanding": 1}
    assert summary.references == {0: 3, 1: 1}
    assert summary.targets == ((8, 8), (16, 24), (32, 32))
    assert summary.text_tokens[0] <= summary.text_tokens[1] <= summary.text_tokens[2]


def test_an_empty_source_has_no_summary() -> None:
    from tests.data.cases import Sizes

    with pytest.raises(DataError, match="the source has no samples; fill it"):
        summarise(Sizes([]))
