"""Tiny models in the released folder layout, with random weights: for tests, documentation and first steps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|img|>",
)
BYTES = 256
"""Size of the byte alphabet, in front of the special tokens."""
ROWS = BYTES + len(SPECIAL_TOKENS)


def write_tiny_vlm(directory: str | Path, hidden_size: int = 64, tied: bool = True, seed: int = 0) -> None:
    """Write a random Qwen2.5-VL of two layers, as in `mllm/`.

    Args:
        directory: It is made.
        hidden_size: Channels, a multiple of 32: the transformer's `text_dim`.
        tied: Whether input and output embeddings are one table, as in the released 3B model.
        seed: Of the weights; torch's global generator is not touched.

    Raises:
        ValueError: If `hidden_size` is not a multiple of 32.
    """
    if hidden_size < 32 or hidden_size % 32:
        raise ValueError(f"hidden_size must be a multiple of 32 (two heads or more of 16 channels), got {hidden_size}")
    ids = {token: BYTES + number for number, token in enumerate(SPECIAL_TOKENS)}
    model: Any = random_vlm(_text_config(hidden_size), _vision_config(hidden_size), ids, tied, seed)
    model.save_pretrained(str(directory))


def write_tiny_processor(directory: str | Path) -> None:
    """Write a byte-level tokenizer with the special tokens of Qwen2.5-VL and its image processor, as in `processor/`.

    One token is one byte; images are cut to at most 16 tokens.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    vocabulary = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    vocabulary |= {token: BYTES + number for number, token in enumerate(SPECIAL_TOKENS)}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|endoftext|>",  # noqa: S106
        extra_special_tokens=list(SPECIAL_TOKENS),
    )
    tokenizer.save_pretrained(str(directory))
    write_image_processor(directory, (28 * 28, 16 * 28 * 28), patch_size=14, merge_size=2)


def write_tiny_vae(directory: str | Path, latent_channels: int = 16, seed: int = 0) -> None:
    """Write a random autoencoder with the reduction, shift and scale of FLUX's, as in `vae/`.

    The seed is that of the weights; torch's global generator is not touched.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # diffusers annotates tuples of any length as tuples of one
        build: Any = AutoencoderKL
        vae = build(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            latent_channels=latent_channels,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
            sample_size=64,
        )
    vae.save_pretrained(str(directory))


def random_vlm(
    text: Mapping[str, Any], vision: Mapping[str, Any], ids: Mapping[str, int], tied: bool, seed: int
) -> nn.Module:
    """Make a random Qwen2.5-VL of transformers, which ends its answers as the released one does.

    Args:
        text: Sizes of the language model, as `text_config` of transformers names them.
        vision: Sizes of the vision tower, as `vision_config` names them.
        ids: The number of each of the `SPECIAL_TOKENS`.
        tied: Whether input and output embeddings are one table.
        seed: Of the weights; torch's global generator is not touched.
    """
    from transformers import GenerationConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ends = {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]}
    config = Qwen2_5_VLConfig(
        text_config={**text, **ends, "bos_token_id": None, "tie_word_embeddings": tied},
        vision_config=dict(vision),
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=tied,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**ends)
    return model


def write_image_processor(directory: str | Path, pixels: tuple[int, int], patch_size: int, merge_size: int) -> None:
    """Write the settings of Qwen2.5-VL's image processor into a folder such as `processor/`.

    Args:
        directory: It exists.
        pixels: Fewest and most pixels of a picture; others are resized.
        patch_size: Side of a patch in pixels.
        merge_size: Patches that become one token, along each side.
    """
    settings = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "size": {"shortest_edge": pixels[0], "longest_edge": pixels[1]},
        "patch_size": patch_size,
        "temporal_patch_size": 2,
        "merge_size": merge_size,
    }
    (Path(directory) / "preprocessor_config.json").write_text(json.dumps(settings, indent=2))


def _text_config(hidden_size: int) -> dict[str, Any]:
    heads = hidden_size // 16
    return {
        "vocab_size": ROWS,
        "hidden_size": hidden_size,
        "intermediate_size": 2 * hidden_size,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
    }


def _vision_config(hidden_size: int) -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": hidden_size,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
