"""Cosine similarities, and the extractors of transformers with tiny random weights."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnigen2.cli import main
from omnigen2.commands.benchmarks import BENCHMARKS
from omnigen2.evaluation.judging.feature_judge import TASKS
from omnigen2.evaluation.judging.judge import read_picture
from omnigen2.evaluation.metrics import Clip, DinoImages, cosines


def write_tiny_clip(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "cat</w>": 3, "a": 4, "c": 5, "t": 6, "t</w>": 7}
    config = CLIPConfig(
        text_config={**small, "vocab_size": len(words), "max_position_embeddings": 8, "eos_token_id": 1},
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=12,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)


def write_tiny_dino(folder: Path) -> None:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=1, image_size=16, patch_size=8
    )
    torch.manual_seed(0)
    Dinov2Model(config).save_pretrained(folder)
    BitImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)


PICTURES = [torch.zeros(3, 20, 30), torch.ones(3, 16, 16), torch.linspace(-1, 1, 3 * 40 * 32).reshape(3, 40, 32)]


@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3))
def test_cosines_are_those_of_torch_at_any_length(seed: int, scale: float) -> None:
    first, second = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = torch.nn.functional.cosine_similarity(first, second)
    torch.testing.assert_close(cosines("DINO", first, second * scale), expected)
    torch.testing.assert_close(cosines("DINO", first, first * scale), torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_a_vector_without_direction_is_refused(bad: float) -> None:
    vectors = torch.ones(3, 2)
    broken = vectors.clone()
    broken[1] = bad
    with pytest.raises(ValueError, match="DINO: vector 1 of side 2 has the length"):
        cosines("DINO", vectors, broken)


def test_clip_folders_are_read(tmp_path: Path) -> None:
    write_tiny_clip(tmp_path)
    clip = Clip(tmp_path)
    features = clip.images(PICTURES)
    assert features.shape == (3, 12)
    torch.testing.assert_close(clip.images(PICTURES[1:2])[0], features[1])
    assert clip.texts(["a cat", "a", "a cat " * 50]).shape == (3, 12)


def test_dino_folders_are_read(tmp_path: Path) -> None:
    write_tiny_dino(tmp_path)
    assert DinoImages(tmp_path)(PICTURES).shape == (3, 16)


def write_emu_edit(data: Path, images: Path, count: int = 3) -> None:
    """A split in the published columns, and edited pictures of which the first is its source."""
    data.mkdir()
    images.mkdir()
    rows = []
    for number in range(count):
        Image.new("RGB", (40, 30), (60 * number, 90, 200)).save(data / f"{number}.png")
        Image.new("RGB", (40, 30), (60 * number, 90 * (number == 0), 200)).save(images / f"{number}.png")
        row = {"idx": number, "task": TASKS[number % 2], "instruction": "make it blue", "image": f"{number}.png"}
        rows.append({**row, "input_caption": "a cat", "output_caption": ("a", "a cat", "cat")[number % 3]})
    (data / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_emu_edit_is_evaluated_by_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, images, out = tmp_path / "data", tmp_path / "mine", tmp_path / "out"
    write_emu_edit(data, images)
    write_tiny_clip(tmp_path / "clip")
    write_tiny_dino(tmp_path / "dino")
    words = ["evaluate", "emu-edit", "--data", str(data), "--images", str(images), "--out", str(out), "--device", "cpu"]
    assert main(words) == 2
    assert "--clip or --dino is missing" in capsys.readouterr().err
    words += ["--clip", str(tmp_path / "clip"), "--dino", str(tmp_path / "dino")]
    (images / "2.png").write_bytes(b"no picture")
    assert main(words) == 0
    records = json.loads((out / "result.json").read_text())["records"]
    assert records[0]["scores"]["clip_i"] == pytest.approx(1)  # a copy of its source
    assert records[0]["scores"]["dino"] == pytest.approx(1)
    assert records[1]["scores"]["dino"] < 1
    assert records[2]["problem"].startswith("unreadable picture")
    clip, dino = Clip(tmp_path / "clip"), DinoImages(tmp_path / "dino")
    edited, source = (read_picture(folder / "1.png", "picture") for folder in (images, data))
    expected = {
        "clip_i": cosines("CLIP-I", clip.images([edited]), clip.images([source])),
        "clip_out": cosines("CLIP-out", clip.images([edited]), clip.texts(["a cat"])),
        "dino": cosines("DINO", dino([edited]), dino([source])),
    }
    for name, value in expected.items():
        assert records[1]["scores"][name] == pytest.approx(value.item(), abs=1e-5)
    report = (out / "report.md").read_text()
    assert "| background | 1.000 |" in report
    assert "2 / 3" in report
    assert "| overall | " in report.partition("Beside the paper")[2]
    assert "0.876" in report


def test_two_pictures_of_one_index_are_refused(tmp_path: Path) -> None:
    data, images = tmp_path / "data", tmp_path / "mine"
    write_emu_edit(data, images)
    lines = (data / "rows.jsonl").read_text().splitlines()
    (data / "rows.jsonl").write_text("\n".join([*lines, json.dumps({**json.loads(lines[0]), "task": "style"})]))
    with pytest.raises(ValueError, match=r"line 4: the picture to judge .* comes again, first at .*line 1"):
        BENCHMARKS["emu-edit"].items(images, data)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    for extractor in (Clip, DinoImages):
        with pytest.raises(ValueError, match="holds no model"):
            extractor(tmp_path)
