"""A small vision-language model for the micro-world: Qwen2.5-VL's architecture and template, the world's own words."""

import re
import tempfile
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override

from omnigen2.encoders import (
    SPECIAL_TOKENS,
    SYSTEM_PROMPT,
    SYSTEM_PROMPT_DROPPED,
    SYSTEM_PROMPT_PLAIN,
    HiddenStateBridge,
    PromptRules,
    QwenEncoder,
    load_tokenizer,
    random_vlm,
    write_image_processor,
)
from omnigen2.microworld.trained import MICRO_MODEL
from omnigen2.microworld.world import all_words
from omnigen2.training.parts import EVERY_TOKEN, VLMFolder, VLMSource

HIDDEN_SIZE = 64
"""Channels of the text states: `text_dim` of `omnigen2.dit.MICRO`."""
PICTURE_SIDE = 32
"""Every picture is seen at this many pixels, whatever its size."""
PATCH_SIZE = 8
MERGE_SIZE = 1
IMAGE_TOKENS = (PICTURE_SIDE // PATCH_SIZE // MERGE_SIZE) ** 2
"""Tokens that a picture takes."""
INITIAL_STD = 0.1
"""Of the weights. With the 0.02 of models whose layers are a hundred times wider, signals fade from layer to layer and
attention stays flat: nothing about the pictures was learned in the first minutes."""
ROPE_THETA = 10.0
"""Makes the slowest rotation, which tells the columns of a picture apart, about 0.1 per column: there are four."""
UNKNOWN = "<unk>"
SPEAKERS = ("system", "user", "assistant")
PICTURE_NAMES = tuple(f"<img{number}>:" for number in range(1, 10))
"""How the template counts pictures; each name is one word."""
SYSTEM_PROMPTS = (SYSTEM_PROMPT, SYSTEM_PROMPT_DROPPED, SYSTEM_PROMPT_PLAIN)
"""Each is one word, so that the template adds seven tokens to a caption."""


class RandomMicroVLM(VLMSource):
    """A new micro VLM that knows nothing: a random Qwen2.5-VL of about 270,000 parameters, with its real tokenizer.

    Four layers of 64 channels read the text, two layers of 64 channels look at pictures in patches of 8 pixels. Input
    and output embeddings are one table, as in the released 3B model. A caption of n words is n + 7 tokens with the
    template, n without it (`HiddenStateBridge(template="drop")`). `save_vlm` writes it in the released layout.

    Args:
        seed: Of the weights; torch's global generator is not touched.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @override
    def load(self, bridge: HiddenStateBridge = EVERY_TOKEN, rules: PromptRules | None = None) -> QwenEncoder:
        # not by way of a folder: of several processes transformers lets the first one alone write a model
        with torch.device("cpu"), tempfile.TemporaryDirectory() as folder:
            write_micro_processor(folder)
            ids = vocabulary()
            model = random_vlm(_text_config(len(ids)), _vision_config(), ids, True, self.seed)
            return QwenEncoder(model, load_tokenizer(folder, rules), bridge)


class ShippedMicroVLM(VLMSource):
    """The vision-language model of the shipped micro model: it answers questions and knows when to draw."""

    @override
    def load(self, bridge: HiddenStateBridge = EVERY_TOKEN, rules: PromptRules | None = None) -> QwenEncoder:
        return VLMFolder(str(MICRO_MODEL)).load(bridge, rules)


def vocabulary() -> dict[str, int]:
    """The tokenizer's words, in lower case, and their numbers: special tokens first, then the template, the world."""
    template = [*SPEAKERS, *PICTURE_NAMES, *(prompt.lower() for prompt in SYSTEM_PROMPTS)]
    return {word: number for number, word in enumerate((*SPECIAL_TOKENS, UNKNOWN, *template, *all_words()))}


def write_micro_processor(directory: str | Path) -> None:
    """Write a tokenizer of the world's words and an image processor, as in `processor/`.

    One token is one word or sign in lower case; a whole system prompt is one word; unknown words are `<unk>`.
    Pictures become 32 x 32 pixels, which are 16 tokens.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    sentences = (re.escape(prompt.lower()) for prompt in SYSTEM_PROMPTS)
    words = Regex("|".join((*sentences, r"<img[1-9]>:", r"\w+", r"[^\w\s]")))
    backend = Tokenizer(models.WordLevel(vocabulary(), unk_token=UNKNOWN))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Split(words, behavior="removed", invert=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token=UNKNOWN,
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|endoftext|>",  # noqa: S106
        extra_special_tokens=list(SPECIAL_TOKENS),
    )
    tokenizer.save_pretrained(str(directory))
    write_image_processor(directory, (PICTURE_SIDE**2, PICTURE_SIDE**2), PATCH_SIZE, MERGE_SIZE)


def _text_config(words: int) -> dict[str, Any]:
    return {
        "vocab_size": words,
        "hidden_size": HIDDEN_SIZE,
        "intermediate_size": 2 * HIDDEN_SIZE,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": INITIAL_STD,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA, "mrope_section": [2, 3, 3]},
    }


def _vision_config() -> dict[str, Any]:
    # every layer attends to the whole picture
    return {
        "depth": 2,
        "hidden_size": HIDDEN_SIZE,
        "intermediate_size": 2 * HIDDEN_SIZE,
        "num_heads": 4,
        "out_hidden_size": HIDDEN_SIZE,
        "patch_size": PATCH_SIZE,
        "spatial_merge_size": MERGE_SIZE,
        "temporal_patch_size": 2,
        "window_size": PICTURE_SIDE,
        "fullatt_block_indexes": [0, 1],
        "initializer_range": INITIAL_STD,
    }
