"""docs/curation.md does what it says."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image

from omnigen2.cli import main
from omnigen2.curation import InProcess, curate, read_recipe
from tests.curation.parts import recipe, write_clips
from tests.curation.test_curate import TEXTS, said
from tests.paths import RECIPES, ROOT

GUIDE = (ROOT / "docs" / "curation.md").read_text()
(COMMANDS,) = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
(STEP,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


SHORTER = ["--vars.steps=2", "--model.init_args.drawing.sampling.steps=2"]


def test_from_drawn_videos_to_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("recipes").symlink_to(RECIPES)
    Path("omnigen2").symlink_to(ROOT / "omnigen2")
    for program, *words in map(shlex.split, COMMANDS.splitlines()):
        if program == "python":
            assert ", 12, " in words[1]
            exec(words[1].replace(", 12, ", ", 3, "), {})
        else:
            assert main([*words, *SHORTER * (program == "lightning")]) == 0, f"{words}: {capsys.readouterr().err}"
    assert re.search(r"kept \| \d+ \| \d+ \|", capsys.readouterr().out)
    written = len(said(tmp_path / "curated"))
    assert written > 2
    report = Path("curated", "report.md").read_text()
    share = re.search(r"true of their pair, kept \| (\d+) of (\d+)", report)
    assert share is not None
    assert int(share[2]) == written
    assert int(share[1]) >= 0.9 * written
    assert any(Path("chunks").iterdir())
    assert [path.name for path in Path("runs/lora/samples").glob("*.png")] == ["step_2.png"]
    assert Image.open("drawn.png").size == (64, 64)


def test_the_guide_names_what_is_there() -> None:
    for name in re.findall(r"`(\w+\.yaml)`", GUIDE):
        assert (RECIPES / "curation" / name).is_file(), name
    for linked in re.findall(r"\]\(([\w/.]+)\)", GUIDE):
        assert (ROOT / "docs" / linked).is_file(), linked


def test_the_step_of_the_guide_works_in_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_steps.py").write_text(STEP)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "recipe.yaml"
    recipe(tmp_path)
    path.write_text(
        path.read_text().replace(
            "sections:", "  short: {class_path: my_steps.ShortWords, init_args: {most: 1}}\nsections:"
        )
    )

    clips = write_clips(tmp_path / "clips", *TEXTS, "0.5 cat")
    curate(read_recipe(path), clips, tmp_path / "out", InProcess())
    assert said(tmp_path / "out") == ["cat"]
