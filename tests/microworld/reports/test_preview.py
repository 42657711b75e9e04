"""The contact sheet and its command."""

from pathlib import Path

import pytest
from PIL import Image

from omnigen2.cli import main
from omnigen2.microworld.reports import preview
from omnigen2.microworld.world import IMAGE_SIZES, ImageSize
from omnigen2.pictures.sheet import BAD, FAINT, GOOD


@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_every_drawn_task_passes_and_every_damaged_one_fails(size: ImageSize) -> None:
    figure = preview(size, 2)
    colours = [text.get_color() for text in figure.texts]
    assert colours.count(GOOD) > 60
    titles = {text.get_text() for text in figure.texts if text.get_color() == FAINT}
    assert {"counting", "replace", "scene character object", "relation", "letters", "looks nice"} <= titles
    sections = [text.get_text() for text in figure.texts if text.get_fontweight() == "bold"]
    start = [text.get_text() for text in figure.texts].index(sections[2])
    end = [text.get_text() for text in figure.texts].index(sections[3])
    assert BAD in colours[start:end]
    assert BAD not in colours[:start] + colours[end:]


def test_the_command_writes_the_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "sheet.png"
    assert main(["microworld", "preview", str(out), "--size", "16"]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    with Image.open(out) as picture:
        assert min(picture.size) > 1000


def test_the_command_writes_tasks_that_can_be_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "tasks")
    assert main(["microworld", "tasks", folder, "--count", "1", "--size", "32"]) == 0
    assert main(["evaluate", "micro-edit", "--images", folder, "--judge", "rules", "--out", str(tmp_path / "out")]) == 0
    assert "10.00" in capsys.readouterr().out  # the drawn targets are right
    assert main(["microworld", "tasks", folder]) == 2
    assert "has files already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["preview"], "OUT"),
        (["preview", "x.png", "--size", "20"], "--size: expected one of 16, 32, 64, got 20"),
        (["preview", "x.txt"], "cannot be written to x.txt\n       end its name in .png, .pdf or .svg"),
        (["preview", "."], "cannot be written to ."),
        (["show", "x.png"], "expected one of 'preview', 'model', 'tasks', got show"),
        (["preview", "x.png", "--seed", "-1"], "--seed of at least 0"),
        (["preview", "x.nonsense"], "nonsense"),
        (["tasks", "x", "--count", "0"], "--count of at least 1"),
    ],
)
def test_mistakes_are_told_in_two_lines(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["microworld", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 2
    assert not list(tmp_path.iterdir())
