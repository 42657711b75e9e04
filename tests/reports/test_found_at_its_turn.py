"""A run went for hours, drew the one prompt that was wrong, and ended with a traceback; started again, it did so again.

All lines of all files are read, and all pictures looked for, before a model is loaded. What only opening a picture can
tell costs the group of its prompt, and is counted.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from PIL import Image

from omnigen2.cli import main
from omnigen2.data import DataError
from omnigen2.pictures import ResizePolicy
from omnigen2.runner.keep import ResumePoint, committed_checkpoint, read_metrics
from omnigen2.training.alignment import FlowGRPOModule, InvalidRewardGuard, JsonlPrompts
from tests.paths import ROOT
from tests.training.grpo_parts import Redness, fit, grpo, same, weights

GOOD: dict[str, Any] = {"task_type": "edit", "instruction": "make it blue", "input_images": ["a.png"]}
WRONG: dict[str, tuple[Any, str]] = {
    "a picture that is missing": ({"input_images": ["missing.png"]}, "names the image 'missing.png'"),
    "a folder": ({"input_images": ["."]}, "which is a folder"),
    "a name that is too long": ({"input_images": ["a" * 5000]}, "where nothing can be looked for"),
    "a NUL": ({"input_images": ["a\0.png"]}, "where nothing can be looked for|which does not exist"),
    "another type": ({"input_images": "a.png"}, "input_images"),
    "another type inside": ({"input_images": [None]}, "input_images"),
    "a task of words": ({"task_type": "vqa"}, "expected a task of drawing"),
    "no picture": ({"input_images": None}, r"is edit with 0 input images"),
    "no picture for the task of somebody else": (
        {"input_images": [], "task_type": "style_change"}, r"is edit \(style_change\) with 0"
    ),
    "a misspelt field": ({"input_image": ["a.png"]}, "'input_image'; did you mean input_images"),
    "half a character": ({"instruction": "\ud800"}, "instruction"),
    "no instruction": ({"instruction": None}, "has the fields"),
    "no size": ({"target_img_size": [64]}, r"expected \[width, height\]"),
    "two meta": ({"meta": "a", "meta_data": {}}, "both meta and meta_data"),
}  # fmt: skip


def written(folder: Path, *lines: Any) -> str:
    """A file of prompts beside the picture `a.png`."""
    Image.new("RGB", (16, 16), (200, 30, 30)).save(folder / "a.png")
    (folder / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(folder / "prompts.jsonl")


def data(file: str, **settings: Any) -> JsonlPrompts:
    resize = ResizePolicy(max_pixels=256, multiple=4)
    return JsonlPrompts([file], steps=20, size=(16, 16), resize=resize, **settings)


def trained(folder: Path, file: str, *callbacks: Callback, steps: int = 6, **options: Any) -> FlowGRPOModule:
    model = grpo(Redness(), rollout={"groups": 3, "members": 2}, update={"objective": grpo().update.objective})
    return fit(model, folder, steps, *callbacks, data=data(file), **options)


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("held_out", [False, True])
def test_a_wrong_line_is_told_before_a_model_is_built(name: str, held_out: bool, tmp_path: Path) -> None:
    change, words = WRONG[name]
    good, model = written(tmp_path, *[GOOD] * 5), grpo()
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("".join(json.dumps(line) + "\n" for line in [*[GOOD] * 5, GOOD | change]))
    read = data(good, validation_files=[str(wrong)]) if held_out else data(str(wrong))
    with pytest.raises(DataError, match=rf"wrong.jsonl, line 6.*({words})"):
        fit(model, tmp_path, 2, data=read, awake=False)
    assert model.transformer is None


def test_a_picture_that_cannot_be_opened_costs_its_group_and_is_counted(tmp_path: Path) -> None:
    file = written(
        tmp_path, *[GOOD | {"instruction": f"{number}"} for number in range(8)], GOOD | {"input_images": ["b.png"]}
    )
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    guard = InvalidRewardGuard(most=0.0)
    with pytest.warns(UserWarning, match=r"goes without a group: .*prompts.jsonl, line 9: image file .*b.png"):
        whole = trained(tmp_path, file, guard, ResumePoint(every_n_train_steps=2))
    rows = [row for row in read_metrics(tmp_path) if "reward/mean" in row]
    assert len(rows) == 3
    counted = [row for row in rows if row.get("invalid/unreadable_picture")]
    assert [row["invalid/unreadable_picture"] for row in counted] == [2.0]
    assert [row["invalid/share"] for row in counted] == [pytest.approx(2 / 6)]
    assert all(value.isfinite().all() for value in weights(whole).values())
    assert len(weights(whole)) > 0


def test_after_a_restart_the_picture_does_not_stop_the_run_either(tmp_path: Path) -> None:
    file = written(tmp_path, *[GOOD | {"input_images": ["b.png"]}] * 3)
    (tmp_path / "b.png").write_bytes(b"no picture")
    folders = [tmp_path / name for name in ("whole", "stopped")]
    for folder in folders:
        folder.mkdir()
    with pytest.warns(UserWarning, match="goes without a group"):
        whole = trained(folders[0], file, InvalidRewardGuard(), ResumePoint(every_n_train_steps=2))
    with pytest.warns(UserWarning, match="goes without a group"):
        trained(folders[1], file, InvalidRewardGuard(), ResumePoint(every_n_train_steps=2), steps=2)
    kept: dict[str, Any] = {"checkpoint": committed_checkpoint(folders[1]), "awake": False}
    with pytest.warns(UserWarning, match="goes without a group"):
        again = trained(folders[1], file, InvalidRewardGuard(), ResumePoint(2), **kept)
    assert same(weights(whole), weights(again))
    assert torch.equal(*(torch.tensor([row["invalid/share"] for row in read_metrics(folder)]) for folder in folders))


def test_validation_prompts_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD, GOOD | {"input_images": ["b.png"]})
    (tmp_path / "b.png").write_bytes(b"no picture")
    read = data(file, validation_files=[file])
    with pytest.raises(DataError, match=r"prompts.jsonl, line 2: image file .*b.png"):
        read.validation_batch()


def test_more_references_than_the_model_knows_are_told_before_it_is_built(tmp_path: Path) -> None:
    many = {"task_type": "in_context", "instruction": "together", "input_images": ["a.png"] * 6}
    file, model = written(tmp_path, GOOD, many), grpo()
    with pytest.raises(DataError, match=r"prompts.jsonl, line 2 has 6 references, .* knows at most 5"):
        fit(model, tmp_path, 2, data=data(file), awake=False)
    assert model.transformer is None
    written(tmp_path, GOOD, many | {"input_images": ["a.png"] * 5})
    fit(grpo(rollout={"groups": 1, "members": 2}), tmp_path, 2, data=data(file))


def test_a_dry_run_tells_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = {"task_type": "in_context", "instruction": "together", "input_images": ["a.png"] * 6}
    recipe = str(ROOT / "recipes/micro/rl_edit.yaml")
    config = tmp_path / "layer.yaml"
    source = "{class_path: omnigen2.training.alignment.JsonlPrompts, init_args: {files: [%s], steps: 4}}"
    sizes = "{hidden_size: 24, num_layers: 1, num_refiner_layers: 1, num_heads: 2, num_kv_heads: 1, axes: [4, 4, 4], "
    sizes += "in_channels: 192, text_dim: 64, multiple_of: 8}"
    for line, start, status, words in (
        (many, "null", 2, "line 1 has 6 references, and the transformer knows at most 5"),
        (GOOD | {"input_images": ["gone.png"]}, "null", 2, "names the image 'gone.png'"),
        (GOOD | {"input_images": ["gone.png"]}, str(tmp_path / "none"), 2, "names the image 'gone.png'"),
        (GOOD, "null", 0, "parameters"),
    ):
        file = written(tmp_path, line)
        config.write_text(
            f"data: {source % file}\nmodel: {{init_args: {{weights: {start}, transformer: {{config: {sizes}}}}}}}\n"
        )
        assert main(["run", recipe, str(config), "--dry_run"]) == status
        captured = capsys.readouterr()
        assert words in captured.out + captured.err
    file = str(tmp_path / "elsewhere.jsonl")
    config.write_text(
        f"data: {source % file}\nmodel: {{init_args: {{weights: null, transformer: {{config: {sizes}}}}}}}\n"
    )
    assert main(["run", recipe, str(config), "--dry_run"]) == 0
    assert "described without data: there is no file" in capsys.readouterr().out


def test_published_rl_data_are_read_as_they_are(tmp_path: Path) -> None:
    published = {
        "task_type": "style_change",
        "instruction": "turn it into an oil painting",
        "input_images": ["a.png"],
        "meta_data": {"tag": "style_change", "instruction": "turn it into an oil painting"},
    }
    lines = [published, published | {"task_type": None}, published | {"meta_data": "{}", "target_img_size": [64, 32]}]
    drawn = {"task_type": "t2i", "instruction": "a cat", "target_img_size": [16, 8], "meta_data": None, "key": 7}
    read = data(written(tmp_path, *lines, drawn))
    with pytest.warns(UserWarning, match="prompts.jsonl: nothing is done with the fields key$"):
        examples = [read.prompt(number) for number in range(read.prompts)]
    assert [example.task for example in examples] == ["edit", "edit", "edit", "text_to_image"]
    assert [json.loads(example.meta or "{}").get("tag") for example in examples] == ["style_change"] * 2 + [None] * 2
    assert [tuple(example.target.shape[1:]) for example in examples if example.target is not None] == [
        *[(16, 16)] * 3,
        (8, 16),
    ]
