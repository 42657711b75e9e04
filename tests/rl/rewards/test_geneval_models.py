"""The real detectors' code, run with tiny random models."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import pre_tokenizers

from omnigen2.rl import RewardError, RewardRequest
from omnigen2.rl.rewards.geneval import Detection, GenEvalReward
from omnigen2.rl.rewards.geneval_models import BEHIND, ClipColourNamer, Mask2FormerDetector, cut_out
from omnigen2.rl.rewards.geneval_task import COLOURS

NAMES = ("cat", "dog", "bus")


@pytest.fixture(scope="module")
def detector_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessor

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("detector")
    backbone = {
        "model_type": "swin", "image_size": 64, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2],
        "window_size": 2, "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        dim_feedforward=16, num_attention_heads=2, encoder_layers=1, decoder_layers=2, num_queries=6,
        id2label=dict(enumerate(NAMES)),
    )  # fmt: skip
    model = Mask2FormerForUniversalSegmentation(config)
    with torch.no_grad():  # sure of itself, whatever it sees
        model.class_predictor.weight.mul_(20)
        model.class_predictor.bias[-1] = -20
        for parameter in model.model.transformer_module.decoder.mask_predictor.mask_embedder.parameters():
            parameter.mul_(6)
    model.save_pretrained(folder)
    Mask2FormerImageProcessor(size={"height": 64, "width": 64}, ignore_index=255).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip")
    letters = pre_tokenizers.ByteLevel.alphabet()
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[])
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"eos_token_id": vocabulary["<|endoftext|>"], "bos_token_id": vocabulary["<|startoftext|>"]}
    text = tower | ends | {"vocab_size": len(vocabulary), "max_position_embeddings": 77}
    vision = tower | {"image_size": 16, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    pixels = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(image_processor=pixels, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def picture(seed: int) -> torch.Tensor:
    return torch.rand(3, 40, 56, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_objects_are_found_inside_the_picture(detector_folder: Path) -> None:
    detector = Mask2FormerDetector(str(detector_folder), NAMES)
    found = [one for seed in range(3) for one in detector.detect(picture(seed))]
    assert found
    for one in found:
        left, top, right, bottom = one.box
        assert one.name in NAMES
        assert 0.3 <= one.score <= 1
        assert 0 <= left < right <= 56
        assert 0 <= top < bottom <= 40
        assert one.mask is not None
        assert one.mask.shape == (40, 56)
        assert bool(one.mask[int(top) : int(bottom), int(left) : int(right)].any())
        assert one.mask.sum() == one.mask[int(top) : int(bottom), int(left) : int(right)].sum()


def test_a_wrong_number_of_names_is_refused(detector_folder: Path) -> None:
    with pytest.raises(RewardError, match="has 3 classes, but 80 names"):
        Mask2FormerDetector(str(detector_folder))


def test_each_object_gets_its_own_colour(clip_folder: Path) -> None:
    namer = ClipColourNamer(str(clip_folder))
    objects = [Detection("cat", (0.0, 0.0, 20.0, 20.0), 1.0), Detection("cat", (30.0, 10.0, 50.0, 40.0), 1.0)]
    together = namer.name_colours(picture(0), objects)
    assert together == [namer.name_colours(picture(0), [one])[0] for one in objects]
    assert set(together) <= set(COLOURS)
    assert namer.name_colours(picture(0), []) == []


def test_only_the_object_is_seen() -> None:
    image = Image.new("RGB", (8, 6), (255, 0, 0))
    mask = torch.zeros(6, 8, dtype=torch.bool)
    mask[1:3, 2:4] = True
    crop = cut_out(image, Detection("x", (1.0, 0.0, 5.0, 4.0), 1.0, mask))
    assert crop.size == (4, 4)
    assert crop.getpixel((0, 0)) == BEHIND
    assert crop.getpixel((1, 1)) == (255, 0, 0)


def test_the_whole_reward_runs(detector_folder: Path, clip_folder: Path) -> None:
    reward = GenEvalReward(Mask2FormerDetector(str(detector_folder), NAMES), ClipColourNamer(str(clip_folder)))
    meta = json.dumps(
        {"tag": "colors", "prompt": "a red cat", "include": [{"class": "cat", "count": 1, "color": "red"}]}
    )
    scores = reward.score([RewardRequest("a red cat", picture(seed), (), meta) for seed in range(2)])
    assert bool(scores.valid.all())
    assert set(scores.value.tolist()) <= {0.0, 0.5, 1.0}


def test_a_detector_without_all_of_its_weights_is_refused(detector_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(detector_folder, tmp_path / "detector")
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("class_predictor.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RewardError, match=r"model.safetensors lacks class_predictor.weight"):
        Mask2FormerDetector(str(folder), NAMES)


def test_a_colour_namer_without_its_settings_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    for name in ("preprocessor_config.json", "processor_config.json"):  # a processor keeps them in one of the two
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(RewardError, match=r"clip has no preprocessor_config.json"):
        ClipColourNamer(str(folder))
