"""The trained micro model that comes with the package can do what its README says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from omnigen2.cli import main
from omnigen2.generate import Generator, Request, Sampling
from omnigen2.microworld import EASY, copy_micro_model, draw, read, sample_caption, sample_edit, verify, verify_caption
from omnigen2.microworld.tasks import TAGS
from omnigen2.microworld.trained import MICRO_MODEL
from omnigen2.pictures import to_image, to_pixels

TOLERANCE = 0.3
DRAWING = Sampling(steps=20, text_scale=2.0)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator.from_folder(MICRO_MODEL)


def test_it_is_small_and_safe() -> None:
    files = [path for path in MICRO_MODEL.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md"}
    for path in MICRO_MODEL.rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            assert all(bool(torch.isfinite(file.get_tensor(name)).all()) for name in file.keys())  # noqa: SIM118


def test_its_readme_says_how_it_was_made_and_what_it_scores() -> None:
    text = (MICRO_MODEL / "README.md").read_text()
    scores = json.loads((MICRO_MODEL / "scores.json").read_text())
    assert "lightning run recipes/micro/curriculum.yaml" in text
    for name in ("geneval/overall/correct", "edit_exact/overall/exact", "omnicontext_exact/overall/exact"):
        assert f"{scores['model'][name]:.2f}" in text


def test_it_draws_captions(generator: Generator) -> None:
    rng = np.random.default_rng(5)
    captions = [sample_caption(EASY, rng, tag) for tag in TAGS for _ in range(3)]
    requests = [Request(prompt=c.text, height=64, width=64, seed=n) for n, c in enumerate(captions)]
    pictures = [to_pixels(picture.image) for picture in generator.many(requests, DRAWING)]
    exact = [
        verify_caption(caption.specification, read(picture, tolerance=TOLERANCE)).exact
        for caption, picture in zip(captions, pictures, strict=True)
    ]
    assert sum(exact) >= 5


def test_it_recolours(generator: Generator) -> None:
    rng = np.random.default_rng(6)
    tasks = [sample_edit(EASY, rng, "recolour") for _ in range(6)]
    requests = [
        Request(prompt=task.instruction, images=(to_image(draw(task.source, 64)),), height=64, width=64, seed=n)
        for n, task in enumerate(tasks)
    ]
    pictures = [to_pixels(picture.image) for picture in generator.many(requests, DRAWING)]
    exact = [verify(t, read(p, tolerance=TOLERANCE)).exact for t, p in zip(tasks, pictures, strict=True)]
    assert sum(exact) >= 2


def test_a_copy_generates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["microworld", "model", str(tmp_path / "micro")]) == 0
    words = ["generate", "--model", str(tmp_path / "micro"), "--prompt", "a red square", "--height", "64"]
    assert main([*words, "--width", "64", "--steps", "2", "--seed", "1", "--out", str(tmp_path / "square.png")]) == 0
    with pytest.raises(FileExistsError, match="has files already; name a new or empty folder"):
        copy_micro_model(tmp_path / "micro")
    assert main(["microworld", "model", str(tmp_path / "micro")]) == 2
    assert "has files already" in capsys.readouterr().err
