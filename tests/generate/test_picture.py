"""Parameters travel inside the PNG file."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from omnigen2.generate import Picture, Request, Sampling, read_parameters
from omnigen2.generate.errors import GenerateError


def picture(prompt: str = "a", **request: object) -> Picture:
    settled = Request(prompt=prompt, height=16, width=32, seed=3, **request)
    return Picture(Image.new("RGB", (32, 16), "red"), settled, Sampling(), "tiny", ("style",))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_prompt_survives_the_file(prompt: str, tmp_path: Path) -> None:
    made = picture(prompt)
    found = read_parameters(made.save(tmp_path / "a.png"))
    assert found["prompt"] == prompt
    assert found == {**made.parameters, "guidance_interval": [0.0, 1.0]}


def test_what_is_stored(tmp_path: Path) -> None:
    made = picture(images=(Image.new("RGB", (20, 10)), tmp_path / "secret" / "photo.png"))
    found = read_parameters(made.save(tmp_path / "new" / "a.png"))
    assert found["images"] == ["<20x10>", "photo.png"]
    assert (found["seed"], found["height"], found["model"], found["adapters"]) == (3, 16, "tiny", ["style"])
    assert str(tmp_path).encode() not in (tmp_path / "new" / "a.png").read_bytes()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(GenerateError, match="pictures are written as PNG, got the name a.jpg"):
        picture().save(tmp_path / "a.jpg")
    Image.new("RGB", (2, 2)).save(tmp_path / "plain.png")
    with pytest.raises(GenerateError, match="has no parameters inside"):
        read_parameters(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("x")
    with pytest.raises(GenerateError, match="is not a PNG file"):
        read_parameters(tmp_path / "text.png")
