"""TeaCache's calibration: drawings are watched, and what is found holds for what it was found with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from omnigen2.dit.cache import Count, Fit, Pairs, Watching
from omnigen2.flow import SquareRootShift
from omnigen2.generate import Calibration, GenerateError, Generator, Request, Sampling, calibrate
from omnigen2.generate.calibration import CALIBRATION_FILE as FILE
from omnigen2.generate.calibration import identity, read_calibration, write_calibration
from omnigen2.generate.denoise import denoise
from omnigen2.generate.picture import read_parameters

from .test_denoise import sample, trained

TEA = Sampling(steps=14, cache="teacache", text_scale=1.0)
REQUESTS = [Request(prompt=prompt, height=32, width=32, seed=n) for n, prompt in enumerate(("a", "a cube", "b", "c"))]


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    """A model whose transformer may be changed."""
    copy = tmp_path / "copy"
    for part in model.iterdir():
        (copy / part.name).parent.mkdir(exist_ok=True)
        if part.name == "transformer":
            shutil.copytree(part, copy / part.name)
        else:
            (copy / part.name).symlink_to(part)
    return copy


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_watching_changes_nothing_and_sees_every_row_at_every_step(solver: Any) -> None:
    batch, pairs, count = [sample(0, [(1, 1)], 2, 2), sample(1, [], 1, 2)], Pairs(), Count()
    sampling = Sampling(steps=5, text_scale=2.0, image_scale=2.0, solver=solver)

    def start(clock: Any, count: Any) -> Watching:
        return Watching(clock, count, pairs)

    dit = trained()
    plain = denoise(dit, batch, sampling, SquareRootShift())
    watched = denoise(dit, batch, sampling, SquareRootShift(), None, count, start)
    assert all(torch.equal(one, other) for one, other in zip(plain, watched, strict=True))
    rows = 3 + 2  # a picture without references has one branch less
    assert len(pairs) == rows * 4 * (2 if solver == "heun" else 1)
    assert all(x > 0 and y > 0 for x, y in pairs)
    assert count.saved == 1


def test_a_folder_tells_its_polynomial_and_pictures_tell_it_too(folder: Path, tmp_path: Path) -> None:
    generator = Generator.from_folder(folder)
    assert generator.calibration is None
    found = calibrate(generator, REQUESTS, replace(TEA, text_scale=2.0, guidance_every=2), batch_size=4)
    assert generator.count.saved == 1
    assert (found.steps, found.prompts, found.fit.pairs) == (14, 4, 4 * 2 * 13)
    assert write_calibration(folder, found) == folder / FILE
    again = Generator.from_folder(folder)
    assert again.calibration == replace(found, where=str(folder / FILE))
    plain, fitted = generator.many(REQUESTS[:1], TEA)[0], again.many(REQUESTS[:1], TEA)[0]
    told = read_parameters(fitted.save(tmp_path / "a.png"))
    assert told["cache_polynomial"] == list(found.fit.coefficients)
    assert "cache_polynomial" not in plain.parameters
    assert "cache_polynomial" not in again.many(REQUESTS[:1], Sampling(steps=1))[0].parameters
    generator.calibration = found
    assert generator.many(REQUESTS[:1], TEA)[0].image.tobytes() == fitted.image.tobytes()


def known(folder: Path) -> Calibration:
    """What a folder tells that was calibrated with 14 steps."""
    fit = Fit.of([(n / 100, n / 50) for n in range(1, 60)])
    write_calibration(folder, Calibration(fit=fit, steps=14, prompts=1))
    found = read_calibration(folder)
    assert found is not None
    return found


@pytest.mark.parametrize(("steps", "holds"), [(10, True), (21, True), (9, False), (22, False)])
def test_other_steps_are_refused_where_they_change_otherwise(folder: Path, steps: int, holds: bool) -> None:
    found, sampling = known(folder), replace(TEA, steps=steps)
    found.check(replace(sampling, cache="forecast"))
    if holds:
        found.check(sampling)
        return
    with pytest.raises(GenerateError, match=rf"teacache.json was fitted to drawings of 14 steps.* {steps}\n"):
        found.check(sampling)


def test_other_weights_are_refused(folder: Path) -> None:
    known(folder).check(TEA)
    (weights,) = (folder / "transformer").glob("*.safetensors")
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    generator = Generator.from_folder(folder)
    generator.many(REQUESTS[:1], Sampling(steps=1, text_scale=1.0))
    with pytest.raises(GenerateError, match="fitted to other weights than those of the folder's transformer"):
        generator.many(REQUESTS[:1], TEA)


def test_the_sizes_are_part_of_the_identity(folder: Path) -> None:
    before, config = identity(folder / "transformer"), folder / "transformer" / "config.json"
    config.write_text(config.read_text().replace("10000", "10001"))
    assert identity(folder / "transformer") != before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"coefficients": []}, "expected a list of numbers"),
        ({"coefficients": ["1"]}, "expected a number"),
        ({"span": [2, 1]}, "the least and the largest change"),
        ({"steps": 0}, "a whole number"),
        ({"transformer": None}, "expected text"),
        ({"threshold": 1}, "known are"),
    ],
)
def test_a_file_that_says_something_else_is_refused(folder: Path, wrong: dict[str, Any], message: str) -> None:
    known(folder)
    (folder / FILE).write_text(json.dumps({**json.loads((folder / FILE).read_text()), **wrong}))
    with pytest.raises(GenerateError, match=message):
        Generator.from_folder(folder)


def test_too_few_drawings_are_refused_before_the_first(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Generator, "watch", lambda *_: pytest.fail("drawn"))
    with pytest.raises(GenerateError, match="4 prompts of 12 steps have 44 changes"):
        calibrate(generator, REQUESTS, replace(TEA, steps=12))
    with pytest.raises(GenerateError, match="batch_size must be at least 1, got 0"):
        calibrate(generator, REQUESTS, TEA, batch_size=0)
