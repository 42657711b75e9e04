"""Prompts from files: GenEval's lines and the official layout, and nothing else."""

import json
from pathlib import Path

import pytest
from PIL import Image

from omnigen2.data import DataError
from omnigen2.training.alignment import JsonlPrompts


def test_prompts_of_files(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    line = {"tag": "counting", "include": [{"class": "cat", "count": 2}], "prompt": "two cats"}
    edit = {"task_type": "edit", "instruction": "make it red", "input_images": ["a.png"], "output_image": None}
    (tmp_path / "p.jsonl").write_text(f"{json.dumps(line)}\n\n{json.dumps(edit)}\n")
    data = JsonlPrompts([str(tmp_path / "p.jsonl")], 1, (32, 64))
    assert data.prompts == 2
    drawn, edited = data.prompt(0), data.prompt(1)
    assert (drawn.task, drawn.instruction, json.loads(drawn.meta)) == ("text_to_image", "two cats", line)
    assert drawn.target is not None
    assert drawn.target.shape == (3, 32, 64)
    assert edited.target is not None
    assert edited.target.shape == edited.references[0].shape == (3, 48, 64)
    with pytest.raises(DataError, match="there is no file .*none.jsonl"):
        _ = JsonlPrompts([str(tmp_path / "none.jsonl")], 1).prompts


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"task_type": "edit", "instruction": "x", "input_images": [1]}', "p.jsonl, line 1 has input_images"),
        (
            b'{"task_type": "t2i", "instruction": "x", "meta": {"tag": 1}}',
            "p.jsonl, line 1 has meta {'tag': 1}, expected",
        ),
        (b'{"prompt": "x"}', "p.jsonl, line 1 has the fields prompt; expected"),
        (b'{"task_type": "edit", "instruction": "x"}', "p.jsonl, line 1 is edit with 0 input images"),
        (b"\xff", "p.jsonl, line 1 is no UTF-8"),
        (b"\n", "p.jsonl has no prompts"),
    ],
)
def test_prompts_that_cannot_be_read_are_refused(line: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(line)
    with pytest.raises(DataError, match=problem):
        JsonlPrompts([str(tmp_path / "p.jsonl")], 1, (32, 64)).prompt(0)
