"""A small data set, and pictures of a method."""

import json
from pathlib import Path

import pytest

from omnigen2.evaluation.metrics import SUBTASKS
from tests.evaluation.cases import SCRIPT, write_picture


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A data set of eight items, and pictures of a method."""
    data, images = tmp_path / "data", tmp_path / "results" / "mine"
    write_picture(data / "input.png", 200)
    lines = []
    for number, task in enumerate(SUBTASKS):
        row = {"key": f"k{number}", "task_type": task, "instruction": SCRIPT, "input_images": ["input.png"]}
        lines.append(row)
        write_picture(images / "fullset" / task / f"k{number}.png", number)
    lines.append({**lines[0], "key": "zh", "instruction_language": "cn"})
    (data / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return images, data
