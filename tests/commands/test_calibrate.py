"""`omnigen2 calibrate`, and `--cache teacache` afterwards."""

import json
from pathlib import Path

import pytest

from omnigen2.generate import Generator, make_tiny, read_parameters
from tests.commands.conftest import Shell

DRAW = ("--height", 32, "--width", 32, "--steps", 26, "--text_scale", 1, "--batch_size", 2, "--device", "cpu")
CACHE = ("--cache", "teacache", "--cache_threshold", 1e6)
LINES = '{"prompt": "a"}\n{"prompt": "b", "seed": 9}\n'


@pytest.fixture
def own(shell: Shell) -> Path:
    """A model of one's own, and a file of prompts."""
    Path("lines.jsonl").write_text(LINES)
    return make_tiny("own")


def test_a_calibrated_model_draws_by_its_polynomial(shell: Shell, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = ("generate", "--model", own, "--from_file", "lines.jsonl", "--out", "drawn", *CACHE, *DRAW)
    shell(*draw)
    said = shell("calibrate", "--model", own, "--from_file", "lines.jsonl", *DRAW)
    assert said.startswith("wrote own/teacache.json: 50 changes of 2 prompts in 26 steps, from ")
    assert "replace it with --overwrite" in shell.refused("calibrate", "--model", own, *DRAW)[1]
    assert "drawn with cache_polynomial None in place of [" in shell.refused(*draw)[0]
    assert shell(*draw, "--overwrite").splitlines()[-1] == "blocks computed: 12 of 104, 8.67 times fewer"
    coefficients = json.loads((own / "teacache.json").read_text())["coefficients"]
    assert read_parameters("drawn/00001.png")["cache_polynomial"] == coefficients
    monkeypatch.setattr(Generator, "from_folder", None)
    assert shell(*draw) == "2 of 2 pictures are there already\n"
    alone = ("--model", own, "--cache", "teacache", "--height", 32, "--width", 32, "--steps", 40, "--device", "cpu")
    for command in (("generate", "--prompt", "a", "--out", "a.png"), ("chat", "--message", "a")):
        assert "fitted to drawings of 26 steps" in shell.refused(*command, *alone)[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--steps", 4), "16 prompts of 4 steps have 48 changes from step to step, a polynomial wants 50"),
        (("--lora", "x"), "one of the model without --lora"),
        (("--cache", "forecast"), "--cache has no place in a calibration"),
        (("--guidance_every", 2), "--guidance_every has no place in a calibration"),
        (("--from_file", "steps.jsonl"), "steps.jsonl, line 2 says how it is sampled"),
        (("--batch_size", 0), "--batch_size must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_fitted_is_told_before_the_model_is_loaded(
    shell: Shell, own: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...], message: str
) -> None:
    monkeypatch.setattr(Generator, "from_folder", None)
    Path("steps.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b", "steps": 9}\n')
    assert message in shell.refused("calibrate", "--model", own, *DRAW, *words)[0]
