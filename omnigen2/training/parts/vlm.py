"""Which vision-language model a stage starts from, as a part of its recipe."""

import json
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from omnigen2.encoders import (
    ChatTokenizer,
    HiddenStateBridge,
    PromptRules,
    QwenEncoder,
    check_folder,
    check_vlm_config,
    fingerprint,
    load_tokenizer,
)
from omnigen2.errors import UserError, user_errors
from omnigen2.quantize import Quantization, check_quantization, inner_tensors, quantize

Precision: TypeAlias = Literal["float32", "bfloat16"]
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}

MLLM, PROCESSOR = "mllm", "processor"
"""Folders of the model and of its tokenizer in the released layout."""
UNCOMPUTED = frozenset({"architectures", "dtype", "torch_dtype", "transformers_version"})
"""Entries of a configuration that change no result; the weights tell their types themselves."""
EVERY_TOKEN = HiddenStateBridge(tokens="all", template="keep")
"""Passes the state of each token on: what a loss over the next tokens needs."""


class VLMSource(ABC):
    """Makes a vision-language model: to train it, or to read instructions with it."""

    @abstractmethod
    def load(self, bridge: HiddenStateBridge = EVERY_TOKEN, rules: PromptRules | None = None) -> QwenEncoder:
        """Load or make the model, on the CPU and frozen.

        Args:
            bridge: Which states it passes on: all of them, as training on words wants it, if nothing is said.
            rules: How prompts become tokens; the usual way if None.
        """

    def tokenizer(self, rules: PromptRules) -> ChatTokenizer | None:
        """What makes its tokens, if that is at hand without the model."""
        del rules
        return None


@dataclass(frozen=True)
class VLMFolder(VLMSource):
    """A model in the released layout.

    Attributes:
        path: Has `mllm/` and `processor/`.
        precision: Of the weights. Train all of them in float32 only; rows of `<|img|>` are float32 in any case.
        quantize: How the matrices of the blocks are stored, see `omnigen2.quantize`; for models that are not trained.
    """

    path: str
    precision: Precision = "float32"
    quantize: Quantization = "none"

    @override
    def load(self, bridge: HiddenStateBridge = EVERY_TOKEN, rules: PromptRules | None = None) -> QwenEncoder:
        """Load the model; nothing is downloaded. Under `torch.device("meta")` no weights are read, only the sizes.

        Raises:
            FileNotFoundError: If a folder or its config is missing.
            UserError: If its weights cannot be quantised here.
        """
        from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

        mllm, processor, dtype = Path(self.path, MLLM), Path(self.path, PROCESSOR), DTYPES[self.precision]
        check_quantization(self.quantize, dtype=dtype)
        if torch.get_default_device().type != "meta":
            with without_bars():
                encoder = QwenEncoder.from_folder(mllm, processor, dtype, rules=rules, bridge=bridge)
            quantize(encoder.model, self.quantize)
            return encoder
        check_folder(mllm, "config.json")
        check_vlm_config(mllm)
        tokenizer = load_tokenizer(processor, rules)
        config = Qwen2_5_VLConfig.from_pretrained(str(mllm), local_files_only=True)
        model = cast(torch.nn.Module, Qwen2_5_VLForConditionalGeneration(config))
        quantize(model, self.quantize, dtype=dtype)
        return QwenEncoder(model, tokenizer, bridge)

    @override
    def tokenizer(self, rules: PromptRules) -> ChatTokenizer | None:
        folder = Path(self.path, PROCESSOR)
        if not (folder / "tokenizer_config.json").is_file():
            return None  # said when the model is loaded
        with user_errors():
            return load_tokenizer(folder, rules)


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
    """Write a model and its tokenizer into `mllm/` and `processor/`, as `VLMFolder` reads them."""
    with without_bars():
        cast(Any, encoder.model).save_pretrained(str(Path(folder) / MLLM))
    tokens: ChatTokenizer = encoder.tokenizer
    tokens.tokenizer.save_pretrained(str(Path(folder) / PROCESSOR))
    if tokens.image_processor is not None:
        tokens.image_processor.save_pretrained(str(Path(folder) / PROCESSOR))


def vlm_identity(encoder: QwenEncoder) -> str:
    """One line that is the same for models that make the same states of the same prompts, and for no others.

    It names kind, type of numbers, and the fingerprint of configuration, tokenizer and weights.
    """
    config: dict[str, Any] = json.loads(cast(Any, encoder.model).config.to_json_string(use_diff=False))
    tokens = encoder.tokenizer
    rows: str = tokens.tokenizer.backend_tokenizer.to_str()
    facts = {"config": _computed(config), "tokenizer": rows, "special": tokens.special_ids, "padding": tokens.pad_id}
    dtype = str(next(encoder.model.parameters()).dtype).removeprefix("torch.")
    return f"{type(encoder.model).__name__} in {dtype} {fingerprint(facts, _Plain(encoder.model))}"


class _Plain(nn.Module):
    """Gives the state of another model, taken apart into plain tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._tensors = inner_tensors(model)

    @override
    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._tensors


def check_plain(source: VLMSource | None, what: str) -> None:
    """Refuse a model with quantised weights.

    Args:
        source: Of the model.
        what: Is to be done with it, for the message.

    Raises:
        UserError: If its weights are to be quantised.
    """
    if isinstance(source, VLMFolder) and source.quantize != "none":
        raise UserError(f"the encoder has quantize {source.quantize}, but {what}", "leave quantize out")


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

    Raises:
        ValueError: If neither is given, or its weights are quantised: what starts from it is trained.
    """
    check_plain(encoder, f"{who} trains it")
    if weights is not None:
        return VLMFolder(weights)
    if encoder is None:
        raise ValueError(
            f"{who} got neither an encoder nor weights; name a VLMSource as `encoder`, or give `weights`, a folder "
            f"with {MLLM}/ and {PROCESSOR}/"
        )
    return encoder
