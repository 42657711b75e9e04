"""`omnigen2 curate reflect`: what it says and writes, and what it refuses in two lines."""

import json
from pathlib import Path

import pytest

from omnigen2.commands.reflecting import main
from omnigen2.data import Sample, read_jsonl
from omnigen2.microworld.curated import write_prompts
from tests.curation.asked import answering
from tests.paths import RECIPES

SMALL = ("--device", "cpu", "--steps", "1", "--text_scale", "1")
DARK = {"problems": ["it is noise"], "changes": ["draw it"], "edit": "make it a cube"}


def test_prompts_become_examples_with_a_server(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prompts.txt").write_text("a cube\n")
    out = tmp_path / "out"
    words = ["--model", str(model), "--out", str(out), "--tries", "1", *SMALL]
    first = ["--prompts", str(tmp_path / "prompts.txt"), "--height", "32", "--width", "48"]
    right = {"problems": [], "changes": [], "edit": "", "score": 9}
    trial = {"colour": "grey"}
    answers = [trial, {**DARK, "score": 1}, {**DARK, "score": 2}, trial, right]
    with answering(*answers) as (server, _):
        asked = ["--judge", server.urls[0], "--judge_model", "tiny", "--judge_concurrency", "1"]
        assert main([*words, *first, *asked]) == 0, capsys.readouterr().err
        assert "1 prompts: 0 right at once, 0 mended, 1 still wrong" in capsys.readouterr().out
        assert main([*words, *asked, "--rounds", "2"]) == 0
    assert "0 right at once, 1 mended" in capsys.readouterr().out
    samples = [sample for _, sample in read_jsonl(out / "examples.jsonl")]
    assert [len(sample.references) for sample in samples if isinstance(sample, Sample)] == [1, 2, 3]
    assert isinstance(samples[0], Sample)
    rounds = json.loads(samples[0].meta)["rounds"]
    assert [one["how"] for one in rounds] == ["draw", "redraw"]
    assert rounds[0]["model"] == f"{model.name}, float32"


def test_the_micro_recipe_with_another_model(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_prompts("captions.jsonl", 2, size=32)
    words = ["--config", str(RECIPES / "curation" / "micro_reflection.yaml"), "--model", str(model), "--out", "out"]
    assert main([*words, *SMALL, "--tries", "1"]) == 0, capsys.readouterr().err
    assert "2 prompts: 0 right at once" in capsys.readouterr().out
    assert "| 2 | edit | 1 |" in Path("out", "report.md").read_text()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "--judge is missing"),
        (["--judge", "rule"], "--judge is rule"),
        (["--judge", "http://127.0.0.1:1/v1"], "--judge_model is missing"),
        (["--judge", "rules", "--prompts", "none.txt"], "no file of prompts"),
        (["--judge", "rules", "--prompts", "prompts.txt", "--height", "33", "--width", "33"], "multiple of 16"),
        (["--judge", "rules", "--prompts", "prompts.txt"], "no task of the micro-world"),
        (["--judge", "rules", "--tries", "0"], "tries must be at least 1"),
        (["--judge", "rules"], "out has no prompts"),
    ],
)
def test_refusals(
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("a cube\n")
    assert main(["--model", str(model), "--out", "out", *SMALL, *words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert problem in said[0]
    assert len(said) == 2
    assert not Path("out").exists()


def test_the_recipe_for_real_models_is_one(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = RECIPES / "curation" / "reflection.yaml"
    assert main(["--config", str(recipe), "--model", str(model), "--out", "out", "--prompts", "none.txt"]) == 2
    assert "none.txt is no file of prompts" in capsys.readouterr().err
