"""What configurations of Qwen2.5-VL and of the autoencoder may say: their libraries know a key, or it is refused."""

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omnigen2.files import Fields, WeightsError, check_config, check_image_settings, image_settings, read_object

VLM_TYPE, VLM_CLASS = "qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration"
FORMER = {
    "model_type", "torch_dtype", "rope_scaling", "rope_theta", "tie_word_embeddings", "use_return_dict",
    "attn_implementation",
    "vision_token_id", "image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id", "in_chans",
    "spatial_patch_size", "auto_map",
}  # fmt: skip
"""What earlier releases of transformers wrote, and the present one reads or knows to be told elsewhere."""
FORMER_DEFAULTS = {
    "add_cross_attention", "cross_attention_hidden_size", "finetuning_task", "is_decoder", "prefix", "pruned_heads",
    "sep_token_id", "task_specific_params", "tf_legacy_loss", "tie_encoder_decoder", "tokenizer_class", "torchscript",
    "use_bfloat16", "unsloth_fixed", "unsloth_version",
}  # fmt: skip
"""What they, and those who convert models, wrote of every model, with no effect on this one, beside the settings of
sampling."""
REPEATED = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "hidden_act", "rms_norm_eps", "rope_theta", "use_sliding_window",
)  # fmt: skip
"""What transformers 4.52 to 4.57 wrote twice: in text_config, which counts, and beside it."""
QWEN_PROCESSORS = ("Qwen2VLImageProcessor", "Qwen2_5_VLImageProcessor")
QWEN_KEYS = ("min_pixels", "max_pixels", "patch_size", "temporal_patch_size", "merge_size")
REMEDY = "take the file of the model that the weights are of"


def check_vlm_config(folder: Path) -> None:
    """Refuse a configuration that is not Qwen2.5-VL's, or says what transformers would pass over in silence.

    Raises:
        WeightsError: It names the key.
    """
    from transformers import Qwen2_5_VLConfig
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig, Qwen2_5_VLVisionConfig

    content = check_config(folder)
    if content.values.get("model_type", VLM_TYPE) != VLM_TYPE:
        raise content.refusal("model_type", VLM_TYPE)
    if content.has("auto_map") and content.values.get("architectures") != [VLM_CLASS]:
        names = f"a model of class {VLM_CLASS}: code beside a model is never run"
        raise content.refusal("auto_map", f"none, or {names}")
    _only(content, (Qwen2_5_VLConfig, Qwen2_5_VLTextConfig))  # files of flat keys have those of the text in front
    for name, kind in (("text_config", Qwen2_5_VLTextConfig), ("vision_config", Qwen2_5_VLVisionConfig)):
        if content.has(name):
            _only(content.object(name), (kind,))
    if content.has("text_config"):
        defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Qwen2_5_VLTextConfig)}
        _check_repeated(content, {**defaults, **content.object("text_config").values})


def check_generation(folder: Path, ends: Iterable[int]) -> None:
    """Refuse settings of sampling that transformers does not know, and ends of answers that are not looked for.

    Args:
        folder: May have generation_config.json.
        ends: The tokens at which an answer ends.

    Raises:
        WeightsError: It names the key.
    """
    from transformers import GenerationConfig

    path = folder / "generation_config.json"
    if not path.is_file():
        return
    content = read_object(path, WeightsError, REMEDY)
    known = {name for name in GenerationConfig().to_dict() if not name.startswith("_")}
    _refuse_unknown(content, known | {"transformers_version"})
    content.inert("num_return_sequences", None, 1)
    content.inert("return_dict_in_generate", None, False)
    if content.has("eos_token_id"):
        said = content.values["eos_token_id"]
        found: list[object] = said if isinstance(said, list) else [said]
        allowed = set(ends)
        if not all(type(one) is int and one in allowed for one in found):
            raise content.refusal("eos_token_id", f"some of {sorted(allowed)}, at which answers end")


def check_vae_config(folder: Path) -> None:
    """Refuse a configuration that is not the autoencoder's, or says what is passed over in silence.

    Raises:
        WeightsError: It names the key.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    content = check_config(folder)
    if content.values.get("_class_name", "AutoencoderKL") != "AutoencoderKL":
        raise content.refusal("_class_name", "AutoencoderKL")
    _refuse_unknown(content, set(inspect.signature(AutoencoderKL.__init__).parameters) - {"self"})
    for name in ("latents_mean", "latents_std"):
        content.inert(name, None)
    for name in ("in_channels", "out_channels"):
        content.inert(name, 3)
    for name in ("scaling_factor", "shift_factor"):
        if content.has(name):
            content.number(name)
    if content.has("scaling_factor") and content.number("scaling_factor") <= 0:
        raise content.refusal("scaling_factor", "a positive number")
    if content.has("block_out_channels"):
        content.wholes("block_out_channels", low=1)


def qwen_image_settings(folder: Path) -> Fields | None:
    """What the image processor of Qwen2.5-VL is told by a folder, checked; None if the folder has none.

    Raises:
        WeightsError: It names the key.
    """
    settings = image_settings(folder, WeightsError)
    if settings is None:
        return None
    check_image_settings(settings, QWEN_PROCESSORS, QWEN_KEYS)
    for name in QWEN_KEYS:
        if settings.has(name):
            settings.whole(name, low=1)
    if settings.has("size"):
        size = settings.object("size")
        size.only("shortest_edge", "longest_edge", "min_pixels", "max_pixels")
        for edge, pixels in (("shortest_edge", "min_pixels"), ("longest_edge", "max_pixels")):
            if not settings.has(pixels):  # which counts, whatever size says
                size.inert(pixels, None, size.whole(edge, low=1))
    return settings


def check_agreement(model: Any, tokenizer: Any, folder: Path, processor: Path) -> None:
    """Refuse a model, a tokenizer and an image processor that are not of one kind.

    Args:
        model: Of transformers.
        tokenizer: A `ChatTokenizer`.
        folder: Of the model.
        processor: Of the other two.

    Raises:
        WeightsError: If they call things differently.
    """
    ids, config = tokenizer.special_ids, model.config
    pairs = [
        ("image_token_id", config.image_token_id, "<|image_pad|>", ids["<|image_pad|>"]),
        ("vision_start_token_id", config.vision_start_token_id, "<|vision_start|>", ids["<|vision_start|>"]),
    ]
    if (images := tokenizer.image_processor) is not None:
        vision = config.vision_config
        pairs += [
            ("patch_size", vision.patch_size, "patch_size", images.patch_size),
            ("spatial_merge_size", vision.spatial_merge_size, "merge_size", images.merge_size),
            ("temporal_patch_size", vision.temporal_patch_size, "temporal_patch_size", images.temporal_patch_size),
        ]
    for ours, value, theirs, other in pairs:
        if value != other:
            raise WeightsError(
                f"{folder / 'config.json'} has {ours} {value}, but {theirs} is {other} in {processor}",
                "take both folders from one model",
            )
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) - tokenizer.added > rows:
        raise WeightsError(
            f"{folder} has embeddings for {rows} tokens, but the tokenizer in {processor} knows {len(tokenizer)}",
            "take both folders from one model",
        )


def _check_repeated(content: Fields, text: Mapping[str, Any]) -> None:
    """Refuse keys beside text_config that say something else than `text`, all that transformers takes of the two.

    Raises:
        WeightsError: It names the key.
    """
    rope: Any = text.get("rope_scaling") or text["rope_parameters"] or {}
    said = {"rope_theta": rope.get("rope_theta", 1e6), **text}
    for name in REPEATED:
        if content.has(name) and content.values[name] != said[name]:
            raise content.refusal(name, f"{said[name]}, as its text_config has it, which is what counts")
    section = content.object("rope_scaling").values.get("mrope_section") if content.has("rope_scaling") else None
    if section not in (None, rope.get("mrope_section")):
        raise content.refusal("rope_scaling", "the same in text_config, which is what counts")


def _only(content: Fields, kinds: tuple[Any, ...]) -> None:
    from transformers import GenerationConfig

    known = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    _refuse_unknown(content, known | FORMER | FORMER_DEFAULTS | set(GenerationConfig().to_dict()))


def _refuse_unknown(content: Fields, known: set[str]) -> None:
    if unknown := sorted(name for name in content.values if name not in known and not name.startswith("_")):
        raise content.error(f"{content.where} has the key {unknown[0]}, which its library does not know", REMEDY)
