"""Five hundred prompts were to be drawn over night, and in the morning line 301 had named a picture that is not there.

A file of prompts is checked as a whole, before the model is loaded: every line is named by file and number. What was
drawn before is kept and not drawn again, and a picture that was drawn with other settings does not pass for this one.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from omnigen2.generate import Generator, read_parameters
from tests.commands.conftest import SMALL, Shell


def write(*lines: object) -> None:
    Image.new("RGB", (32, 32), "red").save("photo.png")
    Path("cut.png").write_bytes(Path("photo.png").read_bytes()[:60])
    Path("text.png").write_text("no picture")
    Path("pictures").mkdir(exist_ok=True)
    Path("pictures/taken").write_text("a file")
    Path("jobs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"images": ["none.png"]}, "there is no image file none.png"),
    ({"images": ["photo.png", "cut.png"]}, "cut.png"),
    ({"images": ["text.png"]}, "text.png cannot be read"),
    ({"images": ["photo.png"] * 6}, "got 6 reference images, the model knows at most 5"),
    ({"prompt": "x" * 2000}, "text tokens (template included), at most 1024 are allowed"),
    ({"negative_prompt": "x" * 2000}, "the conversation has 2"),
    ({"prompt": "half \ud800"}, "half a character"),
    ({"height": 40, "width": 32}, "height must be a positive multiple of 16, got 40"),
    ({"height": 32}, "got height 32 and width"),
    ({"height": 32.0, "width": 32}, "height is 32.0"),
    ({"seed": -1}, "seed must be at least 0"),
    ({"seed": 2**70}, "seed must be at least 0 and below 2^63"),
    ({"steps": 10**12}, "steps must be at least 1 and at most 100000, got 1000000000000"),
    ({"time_shift": 0}, "time_shift must be a number above 0, got 0"),
    ({"time_shift": True}, "time_shift is True"),
    ({"text_scale": -1}, "text_scale must be a number of at least 0, got -1"),
    ({"text_scale": 10**400}, "text_scale is 1000"),  # larger than any float
    ({"guidance_interval": [True, 1]}, "guidance_interval is [True, 1]"),
    ({"images": ["x" * 5000]}, "there is no image file"),
    ({"guidance_interval": [0.5, 0.1]}, "guidance_interval must be 0 <= first <= last <= 1, got 0.5 and 0.1"),
    ({"solver": "rk4"}, "there is no solver 'rk4'"),
    ({"promt": "x"}, "has the unknown key 'promt'"),
    ({"out": "00001.png"}, "writes 00001.png a second time"),
    ({"out": "/a.png"}, "writes outside the output folder"),
    ({"out": "a/../../b.png"}, "writes outside the output folder"),
    ({"out": "a.gif"}, "pictures are written as PNG, WebP or JPEG, got the name a.gif"),
    ({"out": "00001.png/a.png"}, "but pictures/00001.png is a file"),
    ({"out": "taken/a.png"}, "but pictures/taken is a file"),
    ({"out": "a\0.png"}, "is no name of a file"),
    ({"out": "half \ud800.png"}, "is no name of a file"),
    ({"out": "x" * 300 + ".png"}, "is no name of a file"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("line", "message"), WRONG)
def test_a_late_line_is_told_before_the_model_is_loaded(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, line: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(Generator, "from_folder", None)
    write({"prompt": "fine"}, {"prompt": "fine", "images": ["photo.png"]}, {"prompt": "x", **line})
    words = ("generate", "--model", shell.model, *SMALL[4:], "--from_file", "jobs.jsonl", "--out", "pictures")
    for more in ((), ("--dry_run",)):
        problem = shell.refused(*words, *more)[0]
        assert message in problem
        assert "jobs.jsonl, line 3" in problem
    assert not list(Path("pictures").rglob("*.png"))


def draw(shell: Shell, *words: object) -> str:
    return shell.generate("--from_file", "jobs.jsonl", "--out", "pictures", *words)


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ({"prompt": "other"}, (), "drawn with prompt 'one' in place of 'other'"),
        ({"seed": 5}, (), "drawn with seed 0 in place of 5"),
        ({"negative_prompt": "x"}, (), "drawn with negative_prompt '' in place of 'x'"),
        ({}, ("--steps", 1), "drawn with steps 2 in place of 1"),
        ({}, ("--time_shift", 3), "drawn with time_shift None in place of 3.0"),
        ({"images": ["photo.png"]}, (), "drawn with images [] in place of ['photo.png']"),
    ],
)
def test_a_picture_of_another_job_does_not_pass_for_this_one(
    shell: Shell, change: dict[str, Any], words: tuple[object, ...], message: str
) -> None:
    write({"prompt": "one"})
    draw(shell)
    assert draw(shell) == "1 of 1 pictures are there already\n"
    write({"prompt": "one", **change})
    again = ("generate", "--model", shell.model, *SMALL, "--from_file", "jobs.jsonl", "--out", "pictures", *words)
    problem, remedy = shell.refused(*again)
    assert problem == f"error: jobs.jsonl, line 1: pictures/00001.png is there already, {message}"
    assert remedy.strip() == "write into another folder, or draw it again with --overwrite"
    assert "wrote pictures/00001.png" in draw(shell, *words, "--overwrite")


def test_a_file_of_something_else_does_not_pass_for_a_picture(shell: Shell) -> None:
    write({"prompt": "one"})
    Path("pictures/00001.png").write_text("half a download")
    again = ("generate", "--model", shell.model, *SMALL, "--from_file", "jobs.jsonl", "--out", "pictures")
    assert "pictures/00001.png is no PNG, WebP or JPEG file" in shell.refused(*again)[0]


def test_pictures_of_other_formats_are_recognised_again(shell: Shell) -> None:
    write(*({"prompt": "one", "out": f"a.{ending}"} for ending in ("png", "webp", "jpg")))
    draw(shell)
    assert draw(shell) == "3 of 3 pictures are there already\n"
    found = [read_parameters(f"pictures/a.{ending}") for ending in ("png", "webp", "jpg")]
    assert [one.pop("seed") for one in found] == [0, 1, 2]
    assert found[0] == found[1] == found[2]
    write({"prompt": "two", "out": "a.jpg"})
    again = ("generate", "--model", shell.model, *SMALL, "--from_file", "jobs.jsonl", "--out", "pictures")
    assert "drawn with prompt 'one' in place of 'two'" in shell.refused(*again)[0]


def test_seeds_are_chosen_as_the_help_says(shell: Shell) -> None:
    write({"prompt": "one"}, {"prompt": "two"}, {"prompt": "three", "seed": 9})
    draw(shell)
    assert [read_parameters(f"pictures/0000{n}.png")["seed"] for n in (1, 2, 3)] == [0, 1, 9]
    draw(shell, "--seed", 7, "--overwrite")
    assert [read_parameters(f"pictures/0000{n}.png")["seed"] for n in (1, 2, 3)] == [7, 8, 9]
