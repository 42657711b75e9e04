"""Which vision-language model a stage starts from, as a part of its recipe."""

import json
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never, cast

import torch

from omnigen2.encoders import ChatTokenizer, HiddenStateBridge, QwenEncoder, check_folder, fingerprint, load_tokenizer

Precision: TypeAlias = Literal["float32", "bfloat16"]

MLLM, PROCESSOR = "mllm", "processor"
"""Folders of the model and of its tokenizer in the released layout."""
UNCOMPUTED = frozenset({"architectures", "dtype", "torch_dtype", "transformers_version"})
"""Entries of a configuration that change no result; the weights tell their types themselves."""
EVERY_TOKEN = HiddenStateBridge(tokens="all", template="keep")
"""Passes the state of each token on: what a loss over the next tokens needs."""


class VLMSource(ABC):
    """Makes a vision-language model to train."""

    @abstractmethod
    def load(self) -> QwenEncoder:
        """Load or make the model.

        Returns:
            On the CPU, frozen, passing the states of all tokens on.
        """


class VLMFolder(VLMSource):
    """A model in the released layout.

    Args:
        path: Has `mllm/` and `processor/`.
        precision: Of the weights. Train all of them in float32 only; rows of `<|img|>` are float32 in any case.
    """

    def __init__(self, path: str, precision: Precision = "float32") -> None:
        self.path = Path(path)
        self.precision: Precision = precision

    def load(self) -> QwenEncoder:
        """Load the model; nothing is downloaded. Under `torch.device("meta")` no weights are read, only the sizes.

        Returns:
            On the CPU, frozen, passing the states of all tokens on.

        Raises:
            FileNotFoundError: If a folder or its config is missing.
        """
        match self.precision:
            case "float32":
                dtype = torch.float32
            case "bfloat16":
                dtype = torch.bfloat16
            case _:
                assert_never(self.precision)
        if torch.get_default_device().type == "meta":
            return self._sizes(dtype)
        with without_bars():
            return QwenEncoder.from_folder(self.path / MLLM, self.path / PROCESSOR, dtype, bridge=EVERY_TOKEN)

    def _sizes(self, dtype: torch.dtype) -> QwenEncoder:
        from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

        check_folder(self.path / MLLM, "config.json")
        tokenizer = load_tokenizer(self.path / PROCESSOR)
        config = Qwen2_5_VLConfig.from_pretrained(str(self.path / MLLM), local_files_only=True)
        model = cast(torch.nn.Module, Qwen2_5_VLForConditionalGeneration(config))
        return QwenEncoder(model.to(dtype), tokenizer, EVERY_TOKEN)


@contextmanager
def without_bars() -> Generator[None]:
    """Let transformers load and save without progress bars of its own, which would tear up those of a run.

    Yields:
        Nothing.
    """
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def save_vlm(encoder: QwenEncoder, folder: str | Path) -> None:
    """Write a model as `VLMFolder` and `QwenEncoder.from_folder` read it.

    Args:
        encoder: The model and its tokenizer.
        folder: Gets `mllm/` and `processor/`.
    """
    with without_bars():
        cast(Any, encoder.model).save_pretrained(str(Path(folder) / MLLM))
    tokens: ChatTokenizer = encoder.tokenizer
    tokens.tokenizer.save_pretrained(str(Path(folder) / PROCESSOR))
    if tokens.image_processor is not None:
        tokens.image_processor.save_pretrained(str(Path(folder) / PROCESSOR))


def vlm_identity(encoder: QwenEncoder) -> str:
    """One line that is the same for models that make the same states of the same prompts, and for no others.

    Args:
        encoder: On any device.

    Returns:
        Kind, type of numbers, and the fingerprint of configuration, tokenizer and weights.
    """
    config: dict[str, Any] = json.loads(cast(Any, encoder.model).config.to_json_string(use_diff=False))
    tokens = encoder.tokenizer
    rows: str = tokens.tokenizer.backend_tokenizer.to_str()
    facts = {"config": _computed(config), "tokenizer": rows, "special": tokens.special_ids, "padding": tokens.pad_id}
    dtype = str(next(encoder.model.parameters()).dtype).removeprefix("torch.")
    return f"{type(encoder.model).__name__} in {dtype} {fingerprint(facts, encoder.model)}"


def _computed(config: dict[str, Any]) -> dict[str, Any]:
    """What a configuration says about the arithmetic: not where and by which release it was written."""
    inner = {name: _computed(value) if isinstance(value, dict) else value for name, value in config.items()}
    return {name: value for name, value in inner.items() if not name.startswith("_") and name not in UNCOMPUTED}


def vlm_source(encoder: VLMSource | None, weights: str | None, who: str) -> VLMSource:
    """Choose what a stage starts from.

    Args:
        encoder: What the recipe names.
        weights: What an earlier stage has left; goes before the other.
        who: Asks, for the message.

    Returns:
        What loads it.

    Raises:
        ValueError: If neither is given.
    """
    if weights is not None:
        return VLMFolder(weights)
    if encoder is None:
        raise ValueError(
            f"{who} got neither an encoder nor weights; name a VLMSource as `encoder`, or give `weights`, a folder "
            f"with {MLLM}/ and {PROCESSOR}/"
        )
    return encoder
