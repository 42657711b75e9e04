"""Model folders that say how they are sampled: students of few steps."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.errors import UserError
from omnigen2.generate import (
    Generator,
    ModelFolder,
    Sampling,
    export_model,
    read_parameters,
    said_sampling,
    sampling_config,
    say_sampling,
)

STUDENT = Sampling(steps=2, text_scale=1.0)
SIDE = {"height": 32, "width": 48}


@pytest.fixture
def folder(tmp_path: Path, model: Path) -> Path:
    """A model folder of one's own that says nothing yet."""
    return Path(shutil.copytree(model, tmp_path / "student"))


@given(
    steps=st.integers(1, 99),
    scale=st.floats(0, 9),
    shift=st.none() | st.floats(0.1, 9),
    solver=st.sampled_from(["euler", "heun", "dpm2"]),
)
def test_what_is_said_is_what_is_read(
    steps: int, scale: float, shift: float | None, solver: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("said")
    (folder / "model_index.json").write_text('{"bridge": {}}')
    sampling = Sampling(steps=steps, text_scale=scale, time_shift=shift, solver=solver)  # pyright: ignore[reportArgumentType]
    for one in (sampling, STUDENT, sampling):
        say_sampling(folder, one)
        assert Sampling(**said_sampling(folder)) == one
        assert json.loads((folder / "model_index.json").read_text())["bridge"] == {}
    say_sampling(folder, Sampling())
    assert json.loads((folder / "model_index.json").read_text()) == {"bridge": {}}


def test_a_generator_draws_as_its_folder_says_and_a_call_wins(folder: Path, tmp_path: Path) -> None:
    assert ModelFolder(folder).sampling() == Sampling()
    say_sampling(folder, STUDENT)
    generator = Generator.from_folder(folder)
    (plain,) = generator("a cube", seed=1, **SIDE).pictures
    assert plain.sampling == STUDENT
    assert plain.image.tobytes() == generator("a cube", seed=1, steps=2, text_scale=1.0, **SIDE).images[0].tobytes()
    assert generator("a cube", seed=1, steps=3, **SIDE).pictures[0].sampling == replace(STUDENT, steps=3)
    assert read_parameters(plain.save(tmp_path / "one.png"))["steps"] == 2


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([4], "sampling"),
        ({"steps": 4.5}, "steps 4.5, expected a whole number"),
        ({"steps": True}, "steps true"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"text_scale": "1"}, "text_scale"),
        ({"solver": "ddim"}, 'solver "ddim", expected one of euler'),
        ({"cfg": 1.0}, 'has "cfg", known are steps'),
    ],
)
def test_what_is_no_sampling_is_refused_with_its_file(said: object, message: str, folder: Path) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "sampling": said}))
    with pytest.raises(UserError, match=message) as caught:
        said_sampling(folder)
    assert "model_index.json" in str(caught.value)


def test_what_a_folder_cannot_say_is_refused() -> None:
    with pytest.raises(UserError, match="cannot say guidance_interval"):
        sampling_config(Sampling(guidance_interval=(0.0, 0.5)))


def test_an_exported_model_is_sampled_as_its_weights_want(folder: Path, model: Path, tmp_path: Path) -> None:
    say_sampling(folder, STUDENT)
    export_model(folder, model, tmp_path / "of_student")
    assert said_sampling(tmp_path / "of_student") == {"steps": 2, "text_scale": 1.0}
    export_model(model, folder, tmp_path / "of_teacher")
    assert said_sampling(tmp_path / "of_teacher") == {}
    weights = next((model / "transformer").glob("*.safetensors"))
    export_model(weights, folder, tmp_path / "of_file")
    assert said_sampling(tmp_path / "of_file") == {"steps": 2, "text_scale": 1.0}
