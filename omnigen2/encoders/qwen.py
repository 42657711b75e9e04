"""Qwen2.5-VL: the model that reads prompts, looks at pictures and decides when to draw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import torch
from jaxtyping import Int
from torch import Tensor, nn
from typing_extensions import override

from omnigen2.encoders.bridge import HiddenStateBridge, PackedText
from omnigen2.encoders.chat import Conversation
from omnigen2.encoders.configs import check_agreement, check_generation, check_vlm_config, qwen_image_settings
from omnigen2.encoders.folder import check_dtype, check_folder
from omnigen2.encoders.tokens import ChatTokenizer, PromptBatch, PromptRules
from omnigen2.files import WeightsError, check_most, check_tokenizer, library_errors, load_pretrained

Stop: TypeAlias = Literal["end", "image", "length"]
MOST_NEW_TOKENS = 2**17
"""Of an answer: more than the model has positions."""
HOTTEST = 100.0
"""Temperature at which any word is as likely as any other."""


class Answer(NamedTuple):
    """What the model said, without what ended it."""

    text: str
    stop: Stop
    """`"image"` when it said `<|img|>` and wants to draw, `"end"` when it was done, `"length"` when it was cut off."""


class QwenEncoder(nn.Module):
    """Qwen2.5-VL as the text encoder and as the chat model, frozen until someone asks for gradients.

    Positions are computed on the host from the roles of the tokens and given to the model explicitly: left out, it
    falls back to one-dimensional positions without a word, and what it remembers of an earlier call could leak in.

    Args:
        model: A `Qwen2_5_VLForConditionalGeneration`. Its embedding tables grow only if the tokenizer has more
            tokens than they have rows, by their mean row; nothing else about it changes.
        tokenizer: Tokenises conversations.
        bridge: Which hidden states are passed on; text tokens and template by default.

    Source: arXiv:2502.13923 (the model); arXiv:2506.18871, section 2 (its part in OmniGen2).

    Example:
        >>> encoder = QwenEncoder.from_folder("model/mllm", "model/processor")  # doctest: +SKIP
        >>> encoder(encoder.tokenizer.drawings(["a red cube"])).borders.lengths  # doctest: +SKIP
        (29,)
    """

    def __init__(self, model: nn.Module, tokenizer: ChatTokenizer, bridge: HiddenStateBridge | None = None) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.bridge = HiddenStateBridge() if bridge is None else bridge
        vlm = cast(Any, model)
        if len(tokenizer) > vlm.get_input_embeddings().num_embeddings:
            _grow(vlm, len(tokenizer))
        model.requires_grad_(False)
        self.eval()

    @classmethod
    def from_folder(
        cls,
        mllm_dir: str | Path,
        processor_dir: str | Path,
        dtype: torch.dtype = torch.bfloat16,
        device: torch.device | str = "cpu",
        rules: PromptRules | None = None,
        bridge: HiddenStateBridge | None = None,
    ) -> "QwenEncoder":
        """Load a folder written by transformers, such as `mllm/` of the released model; nothing is downloaded.

        Args:
            mllm_dir: Folder with config.json and safetensors files.
            processor_dir: Folder with the tokenizer and preprocessor_config.json (without the latter the model
                cannot be shown images).
            dtype: bfloat16 or float32.
            device: Where the model goes.
            rules: How prompts become tokens.
            bridge: Which hidden states are passed on.

        Raises:
            FileNotFoundError: If a folder or its config is missing.
            ValueError: If the dtype is not supported, the weights are not those that the configuration implies, or
                a configuration says what nobody follows.
        """
        from transformers import Qwen2_5_VLForConditionalGeneration

        check_dtype(dtype, "Qwen2.5-VL")
        check_folder(mllm_dir, "config.json")
        check_vlm_config(Path(mllm_dir))
        tokenizer = load_tokenizer(processor_dir, rules)
        check_generation(Path(mllm_dir), tokenizer.ends)
        model = load_pretrained(Qwen2_5_VLForConditionalGeneration, mllm_dir, dtype=dtype)
        check_agreement(model, tokenizer, Path(mllm_dir), Path(processor_dir))
        return cls(model, tokenizer, bridge).to(device)

    @property
    def dim(self) -> int:
        """Channels of the hidden states: the transformer's `text_dim`."""
        return cast(Any, self.model).get_input_embeddings().embedding_dim

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @override
    def train(self, mode: bool = True) -> "QwenEncoder":
        """Stay in evaluation mode as long as nothing of the model trains."""
        return super().train(mode and any(parameter.requires_grad for parameter in self.model.parameters()))

    def positions(self, batch: PromptBatch) -> Int[Tensor, "3 batch length"]:
        """(time, height, width) positions of every token, int64, computed on the host; padding is at 0.

        Text counts in all three axes alike; the tokens of an image share the time at which it begins.
        """
        model: Any = cast(Any, self.model).model
        roles, mask = batch.image_mask, batch.attention_mask
        # of the ids it only reads the shape
        positions, _ = model.get_rope_index(roles, roles, image_grid_thw=batch.grids, attention_mask=mask)
        return positions

    @override
    def forward(self, batch: PromptBatch) -> PackedText:
        """Last hidden states of prompts after the final norm, in the model's dtype, packed by the bridge."""
        device = self.device
        grids = None if batch.grids is None else batch.grids.to(device, non_blocking=True)
        here = batch.to(device)
        output = cast(Any, self.model).model(
            input_ids=here.ids,
            attention_mask=batch.attention_mask.to(device, non_blocking=True),
            position_ids=self.positions(batch).to(device, non_blocking=True),
            pixel_values=here.pixel_values,
            image_grid_thw=grids,
            use_cache=False,
        )
        return self.bridge(output.last_hidden_state, batch.roles)

    @torch.no_grad()
    def answer(
        self, conversations: Sequence[Conversation], max_new_tokens: int = 256, temperature: float = 0.0
    ) -> list[Answer]:
        """Continue conversations with the assistant's next turn, up to its end or to `<|img|>`.

        To draw after an answer that stopped at `"image"`, encode the conversation with the answer's text as the
        beginning of the assistant's turn: `tokenizer([conversation], answers=[answer.text])`.

        Args:
            conversations: One per sample; their images are always seen.
            max_new_tokens: Longest answer, in tokens.
            temperature: 0 takes the likeliest token each time; above, tokens are drawn from torch's global generator
                with the other sampling settings of the model folder.

        Raises:
            ValueError: If a setting is out of range.
        """
        check_most("max_new_tokens", max_new_tokens, MOST_NEW_TOKENS)
        check_most("temperature", temperature, HOTTEST)
        if max_new_tokens < 1 or temperature < 0:
            raise ValueError(
                f"got max_new_tokens {max_new_tokens} and temperature {temperature}; "
                "expected at least 1 token and a temperature of 0 or more"
            )
        batch = self.tokenizer(conversations, answers=[""] * len(conversations), padding="left")
        device = self.device
        inputs: dict[str, Any] = {
            "input_ids": batch.ids,
            "attention_mask": batch.attention_mask,
            "mm_token_type_ids": batch.image_mask,
        }
        if batch.grids is not None:  # generate takes the mere presence of the argument for an image
            inputs |= {"pixel_values": batch.pixel_values, "image_grid_thw": batch.grids}
        sampling = {"temperature": temperature} if temperature else {"temperature": None, "top_p": None, "top_k": None}
        made: Tensor = cast(Any, self.model).generate(
            **{name: tensor.to(device) for name, tensor in inputs.items()},
            **sampling,
            do_sample=temperature > 0,
            max_new_tokens=max_new_tokens,
            eos_token_id=list(self._stops),
            pad_token_id=self.tokenizer.pad_id,
        )
        return [self._read(row) for row in made[:, batch.ids.shape[1] :].tolist()]

    @property
    def _stops(self) -> dict[int, Stop]:
        """Tokens that end an answer."""
        image = self.tokenizer.image_token_id
        return {token: "image" if token == image else "end" for token in self.tokenizer.ends}

    def _read(self, ids: list[int]) -> Answer:
        """Cut an answer at its first end token."""
        stops = self._stops
        at = next((index for index, token in enumerate(ids) if token in stops), len(ids))
        text: str = self.tokenizer.tokenizer.decode(ids[:at], skip_special_tokens=True)
        return Answer(text, stops[ids[at]] if at < len(ids) else "length")


def load_tokenizer(processor_dir: str | Path, rules: PromptRules | None = None) -> ChatTokenizer:
    """Load the tokenizer, and the image processor if the folder has one: all that a data loader needs.

    Raises:
        FileNotFoundError: If the folder is missing, or its tokenizer_config.json.
        ValueError: If a file is missing or broken, or says what nobody follows.
    """
    from transformers import AutoImageProcessor, AutoTokenizer

    check_folder(processor_dir, "tokenizer_config.json")
    folder = Path(processor_dir)
    check_tokenizer(folder, WeightsError)
    settings = qwen_image_settings(folder)
    with library_errors(folder):
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        images = None
        if settings is not None:
            images = AutoImageProcessor.from_pretrained(str(folder), local_files_only=True, backend="pil")
    return ChatTokenizer(tokenizer, images, rules)


@torch.no_grad()
def _grow(vlm: Any, rows: int) -> None:
    """Give a model's embedding tables as many rows as there are tokens: the new ones are the mean of those it has."""
    before = vlm.get_input_embeddings().num_embeddings
    vlm.resize_token_embeddings(rows, mean_resizing=False)
    for table in (vlm.get_input_embeddings().weight, vlm.get_output_embeddings().weight):
        table[before:] = table[:before].float().mean(0).to(table)
