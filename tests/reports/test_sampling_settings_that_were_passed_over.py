"""A model folder said how it is to be sampled, or how pictures are to be prepared, and nobody listened.

Whatever scheduler_config.json, preprocessor_config.json, generation_config.json and the configurations of the models
say is followed, or changes nothing and is known to, or is refused by its name.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from omnigen2.encoders import FluxVAE, QwenEncoder, drawing, load_tokenizer
from omnigen2.errors import UserError
from omnigen2.evaluation.metrics import DinoImages
from omnigen2.flow import ExponentialShift, FixedShift, IdentityShift, SquareRootShift, TimeShift
from omnigen2.generate import Generator, ModelFolder, scheduler_config, shift_text
from tests.evaluation.metrics.test_similarity import write_tiny_dino

PICTURE = Image.effect_mandelbrot((150, 70), (-3, -2.5, 2, 2.5), 20).convert("RGB")


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model, tmp_path / "model")


def say(path: Path, **changes: Any) -> None:
    """Change a configuration; `...` takes a key out."""
    content = {**(json.loads(path.read_text()) if path.exists() else {}), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def shift_of(folder: Path, **changes: Any) -> TimeShift:
    say(folder / "scheduler" / "scheduler_config.json", **changes)
    return ModelFolder(folder).shift(patch_size=2)


DIFFUSERS = {
    "shift": 1.0, "use_dynamic_shifting": False, "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256,
    "max_image_seq_len": 4096, "invert_sigmas": False, "shift_terminal": None, "use_karras_sigmas": False,
    "use_exponential_sigmas": False, "use_beta_sigmas": False, "time_shift_type": "exponential",
    "stochastic_sampling": False, "_diffusers_version": "0.42.1", "num_train_timesteps": 1000.0,
}  # fmt: skip
"""What diffusers writes of its own scheduler of that name."""
UNDERSTOOD: list[tuple[dict[str, Any], TimeShift]] = [
    ({}, SquareRootShift(20)),
    ({"dynamic_time_shift": ...}, SquareRootShift(20)),
    ({"dynamic_time_shift": False}, IdentityShift()),
    ({"time_shift_base_res": 168}, SquareRootShift(10.5)),
    ({"time_shift_base_res": 320, "_class_name": ...}, SquareRootShift(20)),
    ({"shift": 3.0}, FixedShift(3.0)),
    ({"shift": 3, "dynamic_time_shift": False}, FixedShift(3)),
    (DIFFUSERS, SquareRootShift(20)),
    (DIFFUSERS | {"dynamic_time_shift": ...}, FixedShift(1.0)),
    (DIFFUSERS | {"shift": 3.0}, FixedShift(3.0)),
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"_class_name": "DPMSolverMultistepScheduler"}, "_class_name"),
    ({"_class_name": "FlowMatchEulerMaruyamaDiscreteScheduler"}, "_class_name"),
    ({"sigma_coef": 0.7}, "sigma_coef"),
    ({"do_shift": True}, "do_shift"),
    ({"time_shift_version": "v1"}, "time_shift_version"),
    ({"use_dynamic_shifting": True}, "use_dynamic_shifting"),
    ({"use_karras_sigmas": True}, "use_karras_sigmas"),
    ({"stochastic_sampling": 1}, "stochastic_sampling"),
    ({"base_shift": 0.6}, "base_shift"),
    ({"shift_terminal": 0.02}, "shift_terminal"),
    ({"num_train_timesteps": 500}, "num_train_timesteps"),
    ({"time_shift_base_res": "168"}, "time_shift_base_res"),
    ({"time_shift_base_res": 0}, "time_shift_base_res"),
    ({"time_shift_base_res": True}, "time_shift_base_res"),
    ({"time_shift_base_res": 10**400}, "time_shift_base_res"),
    ({"shift": -3.0}, "shift"),
    ({"shift": [3.0]}, "shift"),
    ({"dynamic_time_shift": "no"}, "dynamic_time_shift"),
    ({"time_shift_base_res": 168, "shift": 3.0}, "time_shift_base_res and shift"),
    ({"time_shift_base_res": 168, "dynamic_time_shift": False}, "time_shift_base_res and dynamic_time_shift false"),
]


@pytest.mark.parametrize(("changes", "expected"), UNDERSTOOD, ids=lambda value: str(value)[:60])
def test_schedulers_are_understood(folder: Path, changes: dict[str, Any], expected: TimeShift) -> None:
    assert shift_of(folder, **changes) == expected


@pytest.mark.parametrize(("changes", "key"), REFUSED, ids=lambda value: str(value)[:60])
def test_other_schedulers_are_refused_by_name(folder: Path, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=rf"scheduler_config.json has .*{key}"):
        shift_of(folder, **changes)


def test_what_the_scheduler_says_is_seen_in_the_picture(folder: Path) -> None:
    def pixels() -> bytes:
        return Generator.from_folder(folder)("x", height=64, width=64, steps=4, seed=1).images[0].tobytes()

    say(folder / "scheduler" / "scheduler_config.json")
    plain = pixels()
    say(folder / "scheduler" / "scheduler_config.json", time_shift_base_res=168)
    official = pixels()
    say(folder / "scheduler" / "scheduler_config.json", time_shift_base_res=..., shift=3.0)
    assert len({plain, official, pixels()}) == 3
    generator = Generator.from_folder(folder)
    assert generator.shift == FixedShift(3.0)


SHIFTS = [IdentityShift(), FixedShift(3.0), SquareRootShift(20), SquareRootShift(10.5)]


@pytest.mark.parametrize("patch_size", [1, 2, 4])
@pytest.mark.parametrize("shift", SHIFTS, ids=repr)
def test_a_saved_folder_draws_with_the_shift_it_was_trained_with(
    folder: Path, shift: TimeShift, patch_size: int
) -> None:
    """Its side, too: a folder with another one was written as the usual one."""
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler_config(shift, patch_size)))
    assert ModelFolder(folder).shift(patch_size) == shift


def test_shifts_are_told_in_one_line_each() -> None:
    lines = [shift_text(shift, 2) for shift in (*SHIFTS, ExponentialShift())]
    assert len(set(lines)) == 5
    assert "168 pixels" in lines[3]
    assert not any("\n" in line for line in lines)
    with pytest.raises(UserError, match="cannot hold the shift ExponentialShift"):
        scheduler_config(ExponentialShift(), 2)


VISION = {"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2}
OFFICIAL = {
    "crop_size": None, "data_format": "channels_first", "default_to_square": True, "device": None,
    "disable_grouping": None, "do_center_crop": None, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True,
    "do_resize": True, "image_mean": [0.48145466, 0.4578275, 0.40821073], "input_data_format": None, "merge_size": 2,
    "image_processor_type": "Qwen2VLImageProcessorFast", "image_std": [0.26862954, 0.26130258, 0.27577711],
    "max_pixels": 12845056,
    "min_pixels": 3136, "patch_size": 14, "processor_class": "Qwen2_5_VLProcessor", "resample": 3,
    "rescale_factor": 0.00392156862745098, "return_tensors": None, "temporal_patch_size": 2, "size_divisor": None,
    "size": {"longest_edge": 12845056, "shortest_edge": 3136},
}  # fmt: skip
"""In the form in which the released model's file is written."""
FOLLOWED: list[dict[str, Any]] = [
    {"image_mean": [0.5, 0.5, 0.5]},
    {"image_std": [0.5, 0.5, 0.5]},
    {"resample": 0},
    {"rescale_factor": 0.002},
    {"do_normalize": False},
    {"size": {"shortest_edge": 784, "longest_edge": 3136}},
]
IMAGE_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"image_processor_type": "CLIPImageProcessor"}, "image_processor_type"),
    ({"do_center_crop": True}, "do_center_crop"),
    ({"crop_size": 224}, "crop_size"),
    ({"do_pad": True}, "do_pad"),
    ({"do_grayscale": True}, "do_grayscale"),
    ({"data_format": "channels_last"}, "data_format"),
    ({"resample": 9}, "resample"),
    ({"resample": "bicubic"}, "resample"),
    ({"image_mean": [0.5, 0.5]}, "image_mean"),
    ({"image_std": [0.5, 0.0, 0.5]}, "image_std"),
    ({"image_std": "half"}, "image_std"),
    ({"do_resize": "yes"}, "do_resize"),
    ({"patch_size": "14"}, "patch_size"),
    ({"merge_size": True}, "merge_size"),
    ({"size": {"height": 28, "width": 28}}, '"height"'),
    ({"size": 224}, "size"),
]


def patches(folder: Path) -> torch.Tensor:
    values = load_tokenizer(folder / "processor")([drawing("x", [PICTURE])]).pixel_values
    assert values is not None
    return values


def test_the_released_form_of_image_settings_is_read(folder: Path) -> None:
    (folder / "processor" / "preprocessor_config.json").write_text(json.dumps(OFFICIAL))
    assert patches(folder).shape == (40, 1176)


@pytest.mark.parametrize("changes", FOLLOWED, ids=str)
def test_image_settings_are_followed(folder: Path, changes: dict[str, Any]) -> None:
    before = patches(folder)
    say(folder / "processor" / "preprocessor_config.json", **changes)
    after = patches(folder)
    assert before.shape != after.shape or not torch.equal(before, after)


@pytest.mark.parametrize(("changes", "key"), IMAGE_FAULTS, ids=str)
def test_image_settings_that_would_be_passed_over_are_refused(folder: Path, changes: dict[str, Any], key: str) -> None:
    say(folder / "processor" / "preprocessor_config.json", **changes)
    with pytest.raises(UserError, match=rf"preprocessor_config.json.* {key}"):
        load_tokenizer(folder / "processor")


def test_image_settings_inside_of_a_whole_processors_file_are_looked_at(folder: Path) -> None:
    settings = json.loads((folder / "processor" / "preprocessor_config.json").read_text())
    whole = folder / "processor" / "processor_config.json"
    say(whole, image_processor=settings, processor_class="Qwen2_5_VLProcessor")
    load_tokenizer(folder / "processor")
    say(whole, image_processor=settings | {"do_center_crop": True})
    with pytest.raises(UserError, match="processor_config.json, image_processor, has do_center_crop true"):
        load_tokenizer(folder / "processor")


@pytest.mark.parametrize(
    "change", [{"do_flip": True}, {"image_mean": 0.5}, {"image_processor_type": "ConvNextImageProcessor"}]
)
def test_image_settings_of_dino_are_looked_at_too(tmp_path: Path, change: dict[str, Any]) -> None:
    write_tiny_dino(tmp_path)
    DinoImages(tmp_path)
    say(tmp_path / "preprocessor_config.json", **change)
    with pytest.raises(UserError, match=f"preprocessor_config.json has .*{next(iter(change))}"):
        DinoImages(tmp_path)


MODEL_FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("mllm/config.json", {"model_type": "qwen3_vl"}, "model_type"),
    ("mllm/config.json", {"hidden_sizes": 64}, "hidden_sizes"),
    ("mllm/config.json", {"quantization_config": {"quant_method": "fp8"}}, "quantization_config"),
    ("mllm/config.json", {"image_token_id": 3}, "image_token_id 3"),
    ("mllm/config.json", {"vision_start_token_id": 3}, "vision_start_token_id 3"),
    ("mllm/generation_config.json", {"repetion_penalty": 1.1}, "repetion_penalty"),
    ("mllm/generation_config.json", {"num_return_sequences": 4}, "num_return_sequences"),
    ("mllm/generation_config.json", {"eos_token_id": [258, 7]}, "eos_token_id"),
    ("processor/preprocessor_config.json", {"merge_size": 1}, "merge_size is 1"),
    ("vae/config.json", {"_class_name": "AutoencoderTiny"}, "_class_name"),
    ("vae/config.json", {"latents_mean": [0.0] * 16}, "latents_mean"),
    ("vae/config.json", {"scale_factor": 0.5}, "scale_factor"),
    ("vae/config.json", {"scaling_factor": 0}, "scaling_factor"),
    ("vae/config.json", {"scaling_factor": True}, "scaling_factor"),
    ("vae/config.json", {"shift_factor": "0.1"}, "shift_factor"),
    ("vae/config.json", {"in_channels": 4}, "in_channels"),
]


def load(folder: Path, part: str) -> None:
    if part == "vae":
        FluxVAE.from_folder(folder / "vae")
    else:
        QwenEncoder.from_folder(folder / "mllm", folder / "processor", dtype=torch.float32)


@pytest.mark.parametrize(("file", "changes", "key"), MODEL_FAULTS, ids=str)
def test_other_configurations_are_refused_by_name(folder: Path, file: str, changes: dict[str, Any], key: str) -> None:
    say(folder / file, **changes)
    with pytest.raises(UserError, match=key):
        load(folder, file.partition("/")[0])


def test_the_forms_that_earlier_releases_wrote_are_read(folder: Path) -> None:
    """The released folders: sizes of the text in front, rope_scaling, keys of every model, and sampling settings."""
    config = json.loads((folder / "mllm" / "config.json").read_text())
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    text |= {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }
    text |= {"torch_dtype": "float32", "vision_token_id": 260, "_attn_implementation_autoset": True}
    config["vision_config"] |= {"in_chans": 3, "spatial_patch_size": 14, "model_type": "qwen2_5_vl"}
    config["vision_config"].pop("rope_parameters")
    before = QwenEncoder.from_folder(folder / "mllm", folder / "processor", dtype=torch.float32)
    sampling = {"do_sample": True, "repetition_penalty": 1.05, "temperature": 1e-6, "bos_token_id": 256}
    sampling |= {"eos_token_id": [258, 256], "pad_token_id": 256, "transformers_version": "4.49.0"}
    (folder / "mllm" / "generation_config.json").write_text(json.dumps(sampling))
    prompts = before.tokenizer.drawings(["x"])
    for flat in (True, False):
        own = text | config if flat else config | {"text_config": text | {"is_decoder": False, "top_k": 50}}
        (folder / "mllm" / "config.json").write_text(json.dumps(own | {"model_type": "qwen2_5_vl"}))
        after = QwenEncoder.from_folder(folder / "mllm", folder / "processor", dtype=torch.float32)
        assert torch.equal(after(prompts).states, before(prompts).states)
