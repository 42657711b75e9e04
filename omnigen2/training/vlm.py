"""Which vision-language model a stage starts from, as a part of its recipe."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never, cast

import torch

from omnigen2.encoders import ChatTokenizer, HiddenStateBridge, QwenEncoder

Precision: TypeAlias = Literal["float32", "bfloat16"]

MLLM, PROCESSOR = "mllm", "processor"
"""Folders of the model and of its tokenizer in the released layout."""
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
        """Load the model; nothing is downloaded.

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
        return QwenEncoder.from_folder(self.path / MLLM, self.path / PROCESSOR, dtype, bridge=EVERY_TOKEN)


def save_vlm(encoder: QwenEncoder, folder: str | Path) -> None:
    """Write a model as `VLMFolder` and `QwenEncoder.from_folder` read it.

    Args:
        encoder: The model and its tokenizer.
        folder: Gets `mllm/` and `processor/`.
    """
    cast(Any, encoder.model).save_pretrained(str(Path(folder) / MLLM))
    tokens: ChatTokenizer = encoder.tokenizer
    tokens.tokenizer.save_pretrained(str(Path(folder) / PROCESSOR))
    if tokens.image_processor is not None:
        tokens.image_processor.save_pretrained(str(Path(folder) / PROCESSOR))


def load_vlm(encoder: VLMSource | None, weights: str | None, who: str) -> QwenEncoder:
    """Load what a stage starts from.

    Args:
        encoder: What the recipe names.
        weights: What an earlier stage has left; goes before the other.
        who: Asks, for the message.

    Returns:
        On the CPU, frozen, passing the states of all tokens on.

    Raises:
        ValueError: If neither is given.
    """
    if weights is not None:
        return VLMFolder(weights).load()
    if encoder is None:
        raise ValueError(
            f"{who} got neither an encoder nor weights; name a VLMSource as `encoder`, or give `weights`, a folder "
            f"with {MLLM}/ and {PROCESSOR}/"
        )
    return encoder.load()
