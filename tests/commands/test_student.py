"""A model that says how it is sampled, on the command line: what the user says wins."""

import shutil
from pathlib import Path

import pytest

from omnigen2.generate import Sampling, read_parameters, say_sampling
from tests.commands.conftest import Shell

SIDE = ("--height", "32", "--width", "48", "--device", "cpu", "--seed", "3")


@pytest.fixture
def student(tmp_path: Path, model: Path) -> Path:
    folder = Path(shutil.copytree(model, tmp_path / "student"))
    say_sampling(folder, Sampling(steps=3, text_scale=1.0, time_shift=2.0))
    return folder


def test_options_and_job_files_win_over_what_the_model_says(shell: Shell, student: Path) -> None:
    job = shell.folder / "job.yaml"
    job.write_text(f"model: {student}\nprompt: a cube\ntext_scale: 2.0\nsteps: null\n")
    ways = {
        "plain": ((), (3, 1.0, 2.0)),
        "steps": (("--steps", "2"), (2, 1.0, 2.0)),
        "usual": (("--steps=28", "--text_scale=4"), (28, 4.0, 2.0)),
        "job": (("--config", job), (3, 2.0, 2.0)),
        "both": (("--config", job, "--text_scale", "1.5"), (3, 1.5, 2.0)),
    }
    for name, (words, expected) in ways.items():
        asked = () if "--config" in words else ("--model", student, "--prompt", "a cube")
        shell("generate", *asked, *SIDE, *words, "--out", f"{name}.png")
        found = read_parameters(shell.folder / f"{name}.png")
        assert (found["steps"], found["text_scale"], found["time_shift"]) == expected, name


def test_a_file_of_prompts_goes_on_as_the_model_says(shell: Shell, student: Path) -> None:
    (shell.folder / "prompts.jsonl").write_text('{"prompt": "a cube"}\n{"prompt": "a ball", "steps": 1}\n')
    words = ("generate", "--model", student, "--from_file", "prompts.jsonl", "--out", "drawn", *SIDE)
    shell(*words)
    assert [read_parameters(shell.folder / f"drawn/0000{n}.png")["steps"] for n in (1, 2)] == [3, 1]
    assert "2 of 2 pictures are there already" in shell(*words)
    assert "drawn with steps 3" in shell.refused(*words, "--steps", "2")[0]


def test_a_wrong_index_is_told_in_two_lines(shell: Shell, student: Path) -> None:
    index = student / "model_index.json"
    index.write_text('{"sampling": {"steps": "four"}}')
    lines = shell.refused("generate", "--model", student, "--prompt", "a cube", "--out", "x.png")
    assert "model_index.json" in lines[0]
    assert "steps" in lines[0]
