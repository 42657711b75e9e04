"""Parameters travel inside the file of a picture."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import IFD

from omnigen2.errors import UserError
from omnigen2.generate import Job, Picture, Request, Sampling, read_parameters
from omnigen2.generate.errors import GenerateError
from omnigen2.pictures import ImageReader


def picture(prompt: str = "a", **request: object) -> Picture:
    settled = Request(prompt=prompt, height=16, width=32, seed=3, **request)
    return Picture(Image.new("RGB", (32, 16), "red"), settled, Sampling(), "tiny", ("style",))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prompt=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    ending=st.sampled_from(["png", "PNG", "webp", "jpg", "JPEG"]),
)
def test_any_prompt_survives_the_file(prompt: str, ending: str, tmp_path: Path) -> None:
    made = picture(prompt)
    found = read_parameters(made.save(tmp_path / f"a.{ending}"))
    assert found["prompt"] == prompt
    assert found == {**made.parameters, "guidance_interval": [0.0, 1.0]}


def test_what_is_stored(tmp_path: Path) -> None:
    made = picture(images=(Image.new("RGB", (20, 10)), tmp_path / "secret" / "photo.png"))
    found = read_parameters(made.save(tmp_path / "new" / "a.png"))
    assert found["images"] == ["<20x10>", "photo.png"]
    assert (found["seed"], found["height"], found["model"], found["adapters"]) == (3, 16, "tiny", ["style"])
    assert str(tmp_path).encode() not in (tmp_path / "new" / "a.png").read_bytes()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize(("ending", "loss"), [("png", 0), ("webp", 0), ("jpg", 6)])
def test_pixels_are_those_of_the_picture(ending: str, loss: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(100, 140, (16, 32, 3), dtype=np.uint8)
    path = replace(picture(), image=Image.fromarray(noise)).save(tmp_path / f"a.{ending}")
    read = np.asarray(ImageReader().read(path))
    assert Image.open(path).format == {"png": "PNG", "webp": "WEBP", "jpg": "JPEG"}[ending]
    assert np.abs(read.astype(int) - noise).mean() <= loss


def test_words_that_do_not_fit_are_told_and_leave_no_file(tmp_path: Path) -> None:
    long = picture("x" * 70_000)
    for ending in ("jpg", "webp"):
        with pytest.raises(UserError, match=r"7\d\d\d\d letters do not fit into a \w+ file\n  write a PNG file"):
            long.save(tmp_path / f"a.{ending}")
    assert not list(tmp_path.iterdir())
    assert read_parameters(long.save(tmp_path / "a.png"))["prompt"] == "x" * 70_000


@pytest.mark.parametrize("ending", ["webp", "jpg"])
@pytest.mark.parametrize(
    "said", [None, b"", b"ASCII\0\0\0omnigen2 ", b"ASCII\0\0\0omnigen2 []", b"UNICODE\0omnigen2 {}"]
)
def test_a_comment_of_another_program_is_no_parameters(ending: str, said: bytes | None, tmp_path: Path) -> None:
    exif = Image.Exif()
    if said is not None:
        exif.get_ifd(IFD.Exif)[0x9286] = said
    path = tmp_path / f"a.{ending}"
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    with pytest.raises(GenerateError, match="has no parameters inside|cannot be read"):
        read_parameters(path)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(GenerateError, match="pictures are written as PNG, WebP or JPEG, got the name a.gif"):
        picture().save(tmp_path / "a.gif")
    Image.new("RGB", (2, 2)).save(tmp_path / "plain.png")
    with pytest.raises(GenerateError, match="has no parameters inside"):
        read_parameters(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("x")
    with pytest.raises(GenerateError, match="is no PNG, WebP or JPEG file"):
        read_parameters(tmp_path / "text.png")


REUSES: list[dict[str, Any]] = [
    {},
    {"cache": "forecast"},
    {"cache": "forecast", "cache_threshold": 0.2},
    {"cache": "taylorseer"},
    {"cache": "taylorseer", "cache_interval": 2},
    {"cache": "teacache"},
    {"guidance_every": 2},
]


@pytest.mark.parametrize("drawn", REUSES, ids=str)
def test_a_picture_that_was_drawn_with_another_cache_is_not_taken_for_this_one(
    drawn: dict[str, Any], tmp_path: Path
) -> None:
    asked = Request(prompt="a", seed=3)
    replace(picture(), adapters=(), sampling=Sampling(**drawn)).save(tmp_path / "a.png")
    for wanted in REUSES:
        job = Job(tmp_path / "a.png", asked, Sampling(**wanted))
        if wanted == drawn:
            assert job.done("tiny", ())
            continue
        with pytest.raises(GenerateError, match="is there already, drawn with (cache|guidance_every)"):
            job.done("tiny", ())


def test_a_picture_says_by_which_polynomial_its_cache_decided(tmp_path: Path) -> None:
    tea, path = Sampling(cache="teacache"), tmp_path / "a.png"
    job = Job(path, Request(prompt="a", seed=3), tea)
    replace(picture(), adapters=(), sampling=tea, polynomial=(2.0, 0.5)).save(path)
    assert job.done("tiny", (), polynomial=(2.0, 0.5))
    for other in ((), (2.0, 0.25)):
        with pytest.raises(GenerateError, match=r"drawn with cache_polynomial \[2.0, 0.5\] in place of "):
            job.done("tiny", (), polynomial=other)
    replace(picture(), adapters=(), polynomial=(2.0, 0.5)).save(path)
    assert replace(job, sampling=Sampling()).done("tiny", ())  # nothing was reused, whatever the model knows
