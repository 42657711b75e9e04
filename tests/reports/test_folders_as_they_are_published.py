"""A model folder was as its authors published it, or as a known program saved it again, and was refused.

The configurations are those of Qwen2.5-VL-3B-Instruct, FLUX's autoencoder, OmniGen2, CLIP, DINO and DINOv2 in the forms
that the releases of transformers and diffusers have written, with small sizes; each is the same model as a tiny one.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from omnigen2.dit import load_transformer
from omnigen2.encoders import FluxVAE, Message, drawing
from omnigen2.evaluation.metrics import Clip, DinoImages
from omnigen2.generate import ModelFolder
from tests.evaluation.metrics.test_similarity import PICTURES
from tests.reports.parts import load, refused

Config = dict[str, Any]
IDS = {"image_token_id": 261, "video_token_id": 262, "vision_start_token_id": 259, "vision_end_token_id": 260}
WORDS = {"bos_token_id": 256, "eos_token_id": 258, "vision_token_id": 263}
TEXT: Config = {
    "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 64, "initializer_range": 0.02,
    "intermediate_size": 128, "max_position_embeddings": 4096, "max_window_layers": 70, "num_attention_heads": 4,
    "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
    "sliding_window": 32768, "use_cache": True, "use_sliding_window": False, "vocab_size": 264, **WORDS,
}  # fmt: skip
VISION: Config = {
    "depth": 2, "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "in_chans": 3,
    "out_hidden_size": 64, "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": 56,
    "fullatt_block_indexes": [1], "tokens_per_second": 4, "temporal_patch_size": 2,
}  # fmt: skip
HUB: Config = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"], **IDS, **TEXT, "model_type": "qwen2_5_vl",
    "tie_word_embeddings": True, "torch_dtype": "bfloat16", "transformers_version": "4.41.2", "vision_config": VISION,
    "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
}  # fmt: skip
SAVED = {"rope_scaling": {"mrope_section": [2, 3, 3], "rope_type": "default", "type": "default"}}
MODEL_TYPES = {"in_channels": 3, "initializer_range": 0.02, "model_type": "qwen2_5_vl", "torch_dtype": "bfloat16"}
INNER = {
    **TEXT, **SAVED, "architectures": HUB["architectures"], "model_type": "qwen2_5_vl_text", "image_token_id": None,
    "tie_word_embeddings": True, "torch_dtype": "bfloat16", "video_token_id": None, "vision_start_token_id": 259,
    "vision_end_token_id": 260,
}  # fmt: skip
TWICE = {**HUB, **SAVED, "text_config": INNER, "vision_config": VISION | MODEL_TYPES, "transformers_version": "4.53.1"}
LAYERS = {"layer_types": ["full_attention"] * 2, "sliding_window": None}
VLM_CONFIGS: dict[str, Config] = {
    "hub": HUB,
    "transformers 4.49": {
        **HUB, **SAVED, "_name_or_path": "Qwen/Qwen2.5-VL-3B-Instruct", "_attn_implementation_autoset": True,
        "vision_config": VISION | MODEL_TYPES, "transformers_version": "4.49.0",
    },
    "transformers 4.52": {key: value for key, value in TWICE.items() if key != "tie_word_embeddings"},
    "transformers 4.53": TWICE | {"text_config": INNER | LAYERS},
    "transformers 4.57": {
        **{key: value for key, value in TWICE.items() if key != "torch_dtype"}, "dtype": "bfloat16",
        "text_config": {**{key: value for key, value in INNER.items() if key != "torch_dtype"}, "dtype": "bfloat16"},
    },
    "Unsloth": TWICE | {"unsloth_fixed": True, "unsloth_version": "2025.6.2", "pad_token_id": 256, "use_cache": False},
}  # fmt: skip
GENERATION = {
    "bos_token_id": 256, "pad_token_id": 256, "do_sample": True, "eos_token_id": [258, 256],
    "repetition_penalty": 1.05, "temperature": 0.000001, "transformers_version": "4.49.0",
}  # fmt: skip


def write(path: Path, content: Config) -> None:
    path.write_text(json.dumps(content, indent=2))


def states(models: Path) -> torch.Tensor:
    vlm = load(models, "mllm")
    return vlm(vlm.tokenizer([drawing("a cat", [Image.new("RGB", (60, 40), "red")])])).states


@pytest.mark.parametrize("name", VLM_CONFIGS)
def test_qwen_is_read_in_the_form_of(models: Path, name: str) -> None:
    expected = states(models)
    write(models / "mllm" / "config.json", VLM_CONFIGS[name])
    write(models / "mllm" / "generation_config.json", GENERATION)
    assert torch.equal(states(models), expected)


AUTO = {"auto_map": {"AutoModelForCausalLM": "modeling_mine.Mine", "AutoTokenizer": ["tokenization_mine.Mine", None]}}
"""Where a fine-tune says that it has code of its own: nothing of it is run here."""


def test_a_known_model_is_read_beside_code_of_its_own(models: Path) -> None:
    expected = states(models)
    write(models / "mllm" / "config.json", HUB | AUTO)
    for name in ("tokenizer_config.json", "preprocessor_config.json"):
        path = models / "processor" / name
        write(path, json.loads(path.read_text()) | AUTO)
    assert torch.equal(states(models), expected)


@pytest.mark.parametrize("architectures", [["MineForConditionalGeneration"], [], None])
def test_a_model_that_is_its_own_code_is_refused(models: Path, architectures: list[str] | None) -> None:
    config = HUB | AUTO | {"architectures": architectures}
    write(models / "mllm" / "config.json", {key: value for key, value in config.items() if value is not None})
    refused(models, "mllm", "config.json has auto_map", "code beside a model is never run")


def test_a_tokenizer_and_an_image_processor_that_are_their_own_code_are_refused(models: Path) -> None:
    path = models / "processor" / "preprocessor_config.json"
    before = json.loads(path.read_text())
    write(path, {key: value for key, value in before.items() if key != "image_processor_type"} | AUTO)
    refused(models, "mllm", "preprocessor_config.json has the key auto_map")
    write(path, before)
    path = models / "processor" / "tokenizer_config.json"
    write(path, json.loads(path.read_text()) | AUTO | {"tokenizer_class": "MineTokenizer"})
    refused(models, "mllm", "processor cannot be loaded", "custom code")


@pytest.mark.parametrize("config", [HUB, TWICE], ids=["hub", "transformers 4.53"])
def test_qwen_is_read_by_the_names_of_weights_since_4_52(models: Path, config: Config) -> None:
    expected = states(models)
    path = models / "mllm" / "model.safetensors"
    old = load_file(path)
    new = {key.replace("model.", "model.language_model.", 1): tensor for key, tensor in old.items()}
    new = {f"model.{key}" if key.startswith("visual.") else key: tensor for key, tensor in new.items()}
    save_file(new, path, {"format": "pt"})
    write(models / "mllm" / "config.json", config)
    assert torch.equal(states(models), expected)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"num_attention_heads": 2}, "num_attention_heads 2"),
        ({"rope_theta": 5e5}, "rope_theta 500000.0"),
        ({"rms_norm_eps": 1e-6}, "rms_norm_eps"),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [4, 2, 2]}}, "rope_scaling"),
        ({"text_config": {key: value for key, value in INNER.items() if "rope" not in key}}, "rope_scaling"),
    ],
)  # fmt: skip
def test_what_is_written_twice_and_differs_is_refused(models: Path, change: Config, key: str) -> None:
    """transformers takes text_config, and passes over what stands beside it."""
    write(models / "mllm" / "config.json", TWICE | change)
    refused(models, "mllm", f"config.json has {key}", "text_config")


PIXELS = {"min_pixels": 784, "max_pixels": 3136}
PLAIN = {"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2, "image_processor_type": "Qwen2VLImageProcessor"}


@pytest.mark.parametrize(
    "size",
    [None, {"longest_edge": 3136, "shortest_edge": 784}, PIXELS, {"longest_edge": 12845056, "shortest_edge": 3136}],
    ids=str,
)
def test_limits_of_pixels_count_whatever_size_says(models: Path, size: Config | None) -> None:
    """As every release of transformers has it: people edit `max_pixels` and leave `size`."""
    path = models / "processor" / "preprocessor_config.json"
    write(path, PLAIN | {"size": {"longest_edge": 3136, "shortest_edge": 784}})
    expected = states(models)
    write(path, PLAIN | PIXELS | ({} if size is None else {"size": size}))
    assert torch.equal(states(models), expected)


TOKENIZER = {
    "add_bos_token": False, "add_prefix_space": False, "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
    "bos_token": None, "chat_template": "{% for m in messages %}{{ m }}{% endfor %}",
    "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace", "extra_special_tokens": {},
    "model_max_length": 131072, "pad_token": "<|endoftext|>", "processor_class": "Qwen2_5_VLProcessor",
    "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None,
}  # fmt: skip


@pytest.mark.parametrize("pad", ["<|endoftext|>", "<|video_pad|>"])
def test_the_tokenizer_is_read_as_published_whatever_it_pads_with(models: Path, pad: str) -> None:
    """Converters take another token for padding, so that the end of a text can be learned."""
    expected, folder = states(models), models / "processor"
    whole = json.loads((folder / "tokenizer.json").read_text())
    added = {str(token.pop("id")): token for token in whole["added_tokens"]}
    write(folder / "tokenizer_config.json", TOKENIZER | {"pad_token": pad, "added_tokens_decoder": added})
    write(folder / "added_tokens.json", {token["content"]: int(number) for number, token in added.items()})
    write(folder / "special_tokens_map.json", {"eos_token": added["258"], "pad_token": pad})
    write(folder / "vocab.json", whole["model"]["vocab"])
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "chat_template.jinja").write_text(str(TOKENIZER["chat_template"]))
    write(folder / "chat_template.json", {"chat_template": TOKENIZER["chat_template"]})
    write(models / "mllm" / "generation_config.json", GENERATION)
    assert torch.equal(states(models), expected)
    assert load(models, "mllm").answer([(Message("user", "x"),)], max_new_tokens=1)


def test_the_other_parts_are_read_as_published(model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    vae = json.loads((folder / "vae" / "config.json").read_text())
    flux = {"_diffusers_version": "0.30.0.dev0", "_name_or_path": "../checkpoints/flux-dev", "force_upcast": True}
    write(folder / "vae" / "config.json", vae | flux | {"latents_mean": None, "latents_std": None, "sample_size": 1024})
    FluxVAE.from_folder(folder / "vae")
    transformer = json.loads((folder / "transformer" / "config.json").read_text())
    released = {"_diffusers_version": "0.33.1", "axes_lens": [1024, 1664, 1664], "out_channels": None}
    write(folder / "transformer" / "config.json", transformer | released)
    load_transformer(folder / "transformer")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"_class_name": ["pipeline_omnigen2", "OmniGen2Pipeline"], "_diffusers_version": "0.33.1"}
    write(folder / "model_index.json", {key: value for key, value in index.items() if key != "untrained"})
    assert ModelFolder(folder).untrained() == ()
    assert ModelFolder(folder).bridge().tokens == "text"


COLOURS = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
CROPPED = {"do_center_crop": True, "do_normalize": True, "do_resize": True, "resample": 3, **COLOURS}
OLD_CLIP = CROPPED | {"crop_size": 16, "size": 16, "feature_extractor_type": "CLIPFeatureExtractor"}
OLD_DINO = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "size": 32,
} | COLOURS
DINO: Config = {
    "architectures": ["ViTModel"], "attention_probs_dropout_prob": 0.0, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0, "hidden_size": 32, "image_size": 32, "initializer_range": 0.02,
    "intermediate_size": 64, "layer_norm_eps": 1e-12, "model_type": "vit", "num_attention_heads": 4, "num_channels": 3,
    "num_hidden_layers": 2, "patch_size": 8, "transformers_version": "4.12.0.dev0",
}  # fmt: skip


def test_clip_is_read_as_published(models: Path) -> None:
    """ViT-B/32 and L/14: a pickle with the whole numbers of places, and both configurations written twice."""
    folder, ids = models / "clip", "embeddings.position_ids"
    write(folder / "preprocessor_config.json", CROPPED | {"crop_size": 16, "size": {"shortest_edge": 16}})
    expected = Clip(folder).images(PICTURES)
    config = json.loads((folder / "config.json").read_text())
    for part in ("text_config", "vision_config"):
        config[part] |= {"bad_words_ids": None, "dropout": 0.0, "is_decoder": False, "top_k": 50, "torchscript": False}
        config[f"{part}_dict"] = {key: value for key, value in config[part].items() if type(value) is int}
    write(folder / "config.json", config | {"torch_dtype": "float32", "transformers_version": None})
    write(folder / "preprocessor_config.json", OLD_CLIP)
    places = {"text_model": torch.arange(8)[None], "vision_model": torch.arange(5)[None]}
    weights = load_file(folder / "model.safetensors") | {f"{part}.{ids}": each for part, each in places.items()}
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert torch.equal(Clip(folder).images(PICTURES), expected)


def test_dino_is_read_as_published(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    ViTModel(ViTConfig.from_dict(DINO), add_pooling_layer=False).save_pretrained(tmp_path)
    write(tmp_path / "config.json", DINO)
    write(tmp_path / "preprocessor_config.json", OLD_DINO)
    assert DinoImages(tmp_path)(PICTURES).shape == (len(PICTURES), 32)


def test_dinov2_is_read_as_published(models: Path) -> None:
    folder = models / "dino"
    config = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", config | {"torch_dtype": "float32", "transformers_version": "4.32.0.dev0"})
    rest = {"do_convert_rgb": True, "do_rescale": True, "rescale_factor": 1 / 255, "size": {"shortest_edge": 20}}
    kind = {"image_processor_type": "BitImageProcessor", "crop_size": {"height": 16, "width": 16}}
    write(folder / "preprocessor_config.json", CROPPED | rest | kind)
    assert DinoImages(folder)(PICTURES).isfinite().all()
