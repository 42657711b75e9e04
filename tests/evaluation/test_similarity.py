"""Cosine similarities, and the extractors of transformers with tiny random weights."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.evaluation.similarity import Clip, DinoImages, FeatureSimilarity

PICTURES = [torch.zeros(3, 20, 30), torch.ones(3, 16, 16), torch.linspace(-1, 1, 3 * 40 * 32).reshape(3, 40, 32)]


@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3))
def test_a_vector_is_like_itself_at_any_length(seed: int, scale: float) -> None:
    vectors = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    metric = FeatureSimilarity("CLIP-I")
    metric.update(vectors, vectors * scale)
    assert metric.compute().item() == pytest.approx(1)


@given(seed=st.integers(0, 2**31), cut=st.integers(0, 6))
def test_two_shards_are_one_and_failures_change_no_mean(seed: int, cut: int) -> None:
    first, second = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    whole, left, right = (FeatureSimilarity("DINO") for _ in range(3))
    whole.update(first, second)
    left.update(first[:cut], second[:cut])
    right.update(first[cut:], second[cut:])
    right.fail(2)
    left.merge_state(right)
    expected = torch.nn.functional.cosine_similarity(first, second).mean()
    torch.testing.assert_close(whole.compute(), expected)
    torch.testing.assert_close(left.compute(), expected)
    assert "(valid 6 / 8). 2 of 8 pairs failed" in str(left)


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_a_vector_without_direction_is_refused(bad: float) -> None:
    vectors = torch.ones(3, 2)
    broken = vectors.clone()
    broken[1] = bad
    with pytest.raises(ValueError, match="DINO: vector 1 of side 2 has the length"):
        FeatureSimilarity("DINO").update(vectors, broken)
    with pytest.raises(ValueError, match="-1 failures"):
        FeatureSimilarity("DINO").fail(-1)


def test_clip_folders_are_read(tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "cat</w>": 3, "a": 4, "c": 5, "t": 6, "t</w>": 7}
    config = CLIPConfig(
        text_config={**small, "vocab_size": len(words), "max_position_embeddings": 8, "eos_token_id": 1},
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=12,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(tmp_path)
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16).save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizerFast(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")).save_pretrained(tmp_path)
    clip = Clip(tmp_path)
    images, texts = clip.images, clip.texts
    features = images(PICTURES)
    assert features.shape == (3, 12)
    torch.testing.assert_close(images(PICTURES[1:2])[0], features[1])
    assert texts(["a cat", "a", "a cat " * 50]).shape == (3, 12)
    metric = FeatureSimilarity("CLIP-out")
    metric.update(features, texts(["a", "cat", "a cat"]))
    assert -1 <= metric.compute() <= 1


def test_dino_folders_are_read(tmp_path: Path) -> None:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=1, image_size=16, patch_size=8
    )
    Dinov2Model(config).save_pretrained(tmp_path)
    BitImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    assert DinoImages(tmp_path)(PICTURES).shape == (3, 16)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    for extractor in (Clip, DinoImages):
        with pytest.raises(ValueError, match="holds no model"):
            extractor(tmp_path)
