"""A model folder lacked weights, or held others, and everything went on: with random numbers, another ones in each run.

Every model that a library loads for us (the vision-language model, the autoencoder, CLIP, DINO, GenEval's detector) is
as strict as the transformer: what is missing, left over, of another shape or of a type that is no float is refused with
its file and key.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from omnigen2.errors import UserError
from omnigen2.evaluation.metrics import DinoImages
from tests.commands.conftest import Shell
from tests.evaluation.metrics.test_similarity import PICTURES, write_tiny_dino
from tests.reports.parts import MODELS, load, refused, weights_of

Tensors = dict[str, torch.Tensor]


def edit(models: Path, part: str, change: Callable[[Tensors], object]) -> Path:
    path = weights_of(models, part)
    tensors = load_file(path)
    assert MODELS[part] in tensors, sorted(tensors)[:20]
    change(tensors)
    save_file(tensors, path, {"format": "pt"})
    return path


@pytest.mark.parametrize("part", MODELS)
def test_whole_files_are_read(models: Path, part: str) -> None:
    load(models, part)


@pytest.mark.parametrize("part", MODELS)
def test_a_missing_key_is_refused(models: Path, part: str) -> None:
    path = edit(models, part, lambda tensors: tensors.pop(MODELS[part]))
    refused(models, part, str(path), "lacks", MODELS[part].rpartition("layers.")[2])


@pytest.mark.parametrize("part", MODELS)
def test_a_key_too_many_is_refused(models: Path, part: str) -> None:
    path = edit(models, part, lambda tensors: tensors.update(lora_A=torch.zeros(2)))
    refused(models, part, str(path), "has unexpected", "lora_A")


@pytest.mark.parametrize("part", MODELS)
def test_another_shape_is_refused(models: Path, part: str) -> None:
    key = MODELS[part]
    path = edit(models, part, lambda tensors: tensors.update({key: torch.zeros(3, *tensors[key].shape)}))
    refused(models, part, str(path), key.rpartition("layers.")[2], "has shape (3,", "config.json implies")


@pytest.mark.parametrize("part", ["mllm", "vae", "clip"])
def test_names_behind_a_prefix_are_not_passed_over(models: Path, part: str) -> None:
    """As PEFT's `base_model.model.`, behind which a whole model can lie."""

    def rename(tensors: Tensors) -> None:
        old = dict(tensors)
        tensors.clear()
        tensors.update({f"base_model.model.{key}": tensor for key, tensor in old.items()})

    path = edit(models, part, rename)
    refused(models, part, str(path), "lacks")


@pytest.mark.parametrize("part", MODELS)
@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn], ids=str)
def test_numbers_that_are_no_weights_are_refused(models: Path, part: str, dtype: torch.dtype) -> None:
    key = MODELS[part]
    path = edit(models, part, lambda tensors: tensors.update({key: tensors[key].to(dtype)}))
    refused(models, part, f"{path}: {key} has the type", "expected one of F64, F32, BF16, F16")


@pytest.mark.parametrize("part", ["mllm", "transformer"])
def test_scaled_fp8_is_called_by_its_name(models: Path, part: str) -> None:
    def scale(tensors: Tensors) -> None:
        tensors[MODELS[part]] = tensors[MODELS[part]].to(torch.float8_e4m3fn)
        tensors[MODELS[part].removesuffix("weight") + "scale_weight"] = torch.ones(())

    edit(models, part, scale)
    refused(models, part, "scaled (fp8 of other programs), which is not supported", "take the bfloat16")


@pytest.mark.parametrize("part", MODELS)
def test_other_files_of_weights_are_named_with_what_to_do(models: Path, part: str) -> None:
    path = weights_of(models, part)
    path.rename(path.with_name(path.stem + ".fp16.safetensors"))
    what = "omnigen2 export FILE" if part == "transformer" else "save it again as"
    refused(models, part, f"neither {path.name}", f"but {path.stem}.fp16.safetensors", what)


@pytest.mark.parametrize("part", ["mllm", "vae", "transformer"])
def test_files_that_hold_pickles_are_named_too(models: Path, part: str) -> None:
    path = weights_of(models, part)
    torch.save(load_file(path), path.with_name("pytorch_model.bin"))
    path.unlink()
    refused(models, part, f"neither {path.name}", "but pytorch_model.bin")


def test_one_table_may_stand_for_two_and_two_may_not_for_one(models: Path) -> None:
    """A tied `lm_head` may be missing, or there and the same; of two different ones none is dropped in silence."""
    path, table = weights_of(models, "mllm"), "model.embed_tokens.weight"
    tensors = load_file(path)
    assert "lm_head.weight" not in tensors
    save_file(tensors | {"lm_head.weight": tensors[table].clone()}, path, {"format": "pt"})
    load(models, "mllm")
    save_file(tensors | {"lm_head.weight": tensors[table] + 1}, path, {"format": "pt"})
    refused(models, "mllm", "NOT tie them")


def test_a_head_of_its_own_may_not_be_missing(models: Path) -> None:
    config = json.loads((models / "mllm" / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = False
    (models / "mllm" / "config.json").write_text(json.dumps(config))
    refused(models, "mllm", "lacks lm_head.weight")


def test_a_tokenizer_of_a_larger_model_is_refused(models: Path) -> None:
    """The rows that the model lacks would be made up."""
    path = models / "processor" / "tokenizer.json"
    content = json.loads(path.read_text())
    token = dict(content["added_tokens"][-1]) | {"content": "<|more|>", "id": content["added_tokens"][-1]["id"] + 1}
    content["added_tokens"].append(token)
    path.write_text(json.dumps(content))
    refused(models, "mllm", "has embeddings for 264 tokens, but the tokenizer", "knows 265")


def write_vit(folder: Path, pooler: bool) -> Any:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=32, patch_size=8
    )
    model = ViTModel(config, add_pooling_layer=pooler)
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("pooler", [False, True])
def test_dino_gives_one_answer_its_class_token(tmp_path: Path, pooler: bool) -> None:
    """The published ViT-S/16 has no pooler; the one of transformers, if a file has it, nobody trained."""
    model = write_vit(tmp_path, pooler)
    first, second = DinoImages(tmp_path), DinoImages(tmp_path)
    assert torch.equal(first(PICTURES), second(PICTURES))
    pixels = first.processor(images=[*map(to_pil, PICTURES)], return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(first(PICTURES), model(**pixels).last_hidden_state[:, 0])


def to_pil(picture: torch.Tensor) -> Any:
    from omnigen2.pictures import to_image

    return to_image(picture)


def test_dinov2_gives_what_it_pools(tmp_path: Path) -> None:
    write_tiny_dino(tmp_path)
    dino = DinoImages(tmp_path)
    pixels = dino.processor(images=[*map(to_pil, PICTURES)], return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(dino(PICTURES), dino.model(**pixels).pooler_output)


def test_published_pickles_of_small_models_are_read(tmp_path: Path) -> None:
    """Without being run: facebook/dino-vits16 was published as pytorch_model.bin."""
    write_vit(tmp_path, pooler=False)
    expected = DinoImages(tmp_path)(PICTURES)
    path = tmp_path / "model.safetensors"
    torch.save(load_file(path), tmp_path / "pytorch_model.bin")
    path.unlink()
    assert torch.equal(DinoImages(tmp_path)(PICTURES), expected)


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json"])
def test_what_a_library_would_replace_in_silence_is_missed(models: Path, name: str) -> None:
    """Without a vocabulary transformers makes a tokenizer of two words."""
    (models / "clip" / name).unlink()
    (models / "clip" / "vocab.json").unlink()
    refused(models, "clip", str(models / "clip"), name)


@pytest.mark.parametrize("part", ["mllm", "vae", "transformer"])
def test_of_two_sets_of_weights_none_is_taken_in_silence(models: Path, part: str) -> None:
    """Shards and one file: our loaders would take the one, those of transformers the other."""
    path = weights_of(models, part)
    shard, index = path.with_name("shard.safetensors"), path.with_name(f"{path.name}.index.json")
    shard.write_bytes(path.read_bytes())
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(load_file(path), shard.name)}))
    with pytest.raises(UserError, match=f"has {path.name} and {index.name}: which are its weights"):
        load(models, part)
    path.unlink()
    load(models, part)


@pytest.mark.parametrize("part", ["mllm", "clip", "dino"])
def test_an_adapter_beside_the_weights_is_not_added_in_silence(models: Path, part: str) -> None:
    (models / part / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4}')
    refused(models, part, f"{models / part} has adapter_config.json", "merge it into them")


@pytest.mark.parametrize("part", ["transformer", "vae", "mllm"])
def test_weights_that_are_not_finite_draw_nothing(shell: Shell, part: str) -> None:
    folder = shutil.copytree(shell.model, Path("broken"))
    edit(folder, part, lambda tensors: tensors[MODELS[part]].fill_(torch.nan))
    sizes = ("--height", "32", "--width", "32", "--steps", "1")
    told = shell.refused("generate", "--model", folder, "--prompt", "cat", "--out", "a.png", *sizes)
    assert "pixels that are not numbers" in told[0]
